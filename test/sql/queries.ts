/** Queries at random over a data set, in this SQL and in DuckDB's, which differ in few places. */
import fc from "fast-check";
import type { SqlType } from "../../host/sql/expression.ts";

/** The same in both. */
export interface Both {
  ours: string;
  duck: string;
}

export interface Column {
  name: string;
  type: SqlType;
  /** Values that occur, as they are written in a query without quotes. */
  values: string[];
}

export interface RandomQuery extends Both {
  /** Whether ORDER BY decides the order of all rows. */
  ordered: boolean;
}

const same = (text: string): Both => ({ ours: text, duck: text });
const both = (make: (pick: (part: Both) => string) => string): Both => ({
  ours: make(({ ours }) => ours),
  duck: make(({ duck }) => duck),
});
const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;
const name = (column: string) => (/^[a-z_]+$/.test(column) ? column : `"${column.replaceAll('"', '""')}"`);

type Kind = "integer" | "float" | "text" | "bool" | "timestamp";
type Arb = fc.Arbitrary<Both>;

/** Queries over columns. */
export function queries(columns: Column[]): fc.Arbitrary<RandomQuery> {
  const kinds = new Map<Kind, Column[]>();
  for (const column of columns) {
    const kind = column.type as Kind;
    kinds.set(kind, [...(kinds.get(kind) ?? []), column]);
  }
  const has = (kind: Kind) => kinds.has(kind);
  const available = [...kinds.keys()];

  const literal = (kind: Kind): Arb => {
    const values = (kinds.get(kind) ?? []).flatMap((column) => column.values);
    const drawn = values.length ? fc.constantFrom(...values) : fc.constant("0");
    switch (kind) {
      case "integer":
        return fc
          .oneof(fc.integer({ min: -20, max: 20 }).map(String), values.length ? drawn : fc.constant("7"))
          .map((text) => ({ ours: text, duck: `(${text})::BIGINT` }));
      case "float":
        return fc
          .oneof(
            fc.integer({ min: -80, max: 80 }).map((n) => (n / 8).toFixed(3)),
            values.length ? drawn : fc.constant("0.5"),
          )
          .map((text) => ({ ours: /[.e]/.test(text) ? text : `${text}.0`, duck: `(${text})::DOUBLE` }));
      case "bool":
        return fc.constantFrom("true", "false").map(same);
      case "timestamp":
        return drawn.map((text) => same(`TIMESTAMP ${quoted(text)}`));
      default:
        return fc
          .oneof(drawn, fc.constantFrom("", "A", "it's", "%", 'a"b', "zürich"))
          .map((text) => same(quoted(text)));
    }
  };
  const column = (kind: Kind): Arb =>
    has(kind) ? fc.constantFrom(...kinds.get(kind)!).map((each) => same(name(each.name))) : literal(kind);

  const expr = (kind: Kind, depth: number): Arb => {
    if (depth <= 0)
      return fc.oneof({ arbitrary: column(kind), weight: 4 }, { arbitrary: literal(kind), weight: 1 });
    const inner = (of: Kind) => expr(of, depth - 1);
    const choices: Arb[] = [column(kind), column(kind), literal(kind)];
    const add = (...more: Arb[]) => choices.push(...more);
    const tuple = (...arbs: Arb[]) => fc.tuple(...arbs);
    if (kind !== "bool") {
      add(
        tuple(inner("bool"), inner(kind), inner(kind)).map(([when, a, b]) =>
          both((p) => `CASE WHEN ${p(when)} THEN ${p(a)} ELSE ${p(b)} END`),
        ),
        tuple(inner("bool"), inner(kind)).map(([when, a]) =>
          both((p) => `CASE WHEN ${p(when)} THEN ${p(a)} END`),
        ),
        tuple(inner(kind), inner(kind)).map(([a, b]) => both((p) => `COALESCE(${p(a)}, ${p(b)})`)),
        tuple(inner(kind), inner(kind)).map(([a, b]) => both((p) => `NULLIF(${p(a)}, ${p(b)})`)),
      );
    }
    if (kind === "integer" || kind === "float" || kind === "timestamp")
      add(
        tuple(inner(kind), inner(kind), fc.constantFrom("GREATEST", "LEAST").map(same)).map(([a, b, f]) =>
          both((p) => `${p(f)}(${p(a)}, ${p(b)})`),
        ),
      );
    if (kind === "integer" || kind === "float")
      add(
        tuple(inner(kind), inner(kind), fc.constantFrom("+", "-").map(same)).map(([a, b, sign]) =>
          both((p) => `(${p(a)} ${p(sign)} ${p(b)})`),
        ),
        tuple(
          inner(kind),
          fc.integer({ min: -9, max: 9 }).map((n) => same(String(n))),
        ).map(([a, n]) => both((p) => `(${p(a)} * ${p(n)})`)),
        inner(kind).map((a) => both((p) => `abs(${p(a)})`)),
        inner(kind).map((a) => both((p) => `(- ${p(a)})`)),
      );
    if (kind === "integer")
      add(
        tuple(inner(kind), inner(kind)).map(([a, b]) => ({
          ours: `(${a.ours} / ${b.ours})`,
          duck: `(${a.duck} // nullif(${b.duck}, 0))`,
        })),
        tuple(inner(kind), inner(kind)).map(([a, b]) => ({
          ours: `(${a.ours} % ${b.ours})`,
          duck: `(${a.duck} % nullif(${b.duck}, 0))`,
        })),
        inner("bool").map((a) => both((p) => `CAST(${p(a)} AS BIGINT)`)),
      );
    if (kind === "integer" && has("timestamp"))
      add(
        tuple(
          inner("timestamp"),
          fc.constantFrom("year", "quarter", "month", "day", "hour", "minute", "dow", "isodow").map(same),
        ).map(([t, part]) => both((p) => `extract(${p(part)} FROM ${p(t)})`)),
      );
    if (kind === "float")
      add(
        tuple(inner(kind), inner(kind)).map(([a, b]) => ({
          ours: `(${a.ours} / ${b.ours})`,
          duck: `(${a.duck} / nullif(${b.duck}, 0))`,
        })),
        tuple(inner(kind), fc.constantFrom("floor", "ceil", "round", "trunc").map(same)).map(([a, f]) =>
          both((p) => `${p(f)}(${p(a)})`),
        ),
        inner("integer").map((a) => both((p) => `CAST(${p(a)} AS double precision)`)),
        inner(kind).map((a) => both((p) => `sqrt(abs(${p(a)}))`)),
        tuple(inner("integer"), inner(kind)).map(([a, b]) => both((p) => `(${p(a)} + ${p(b)})`)),
      );
    if (kind === "timestamp")
      add(
        tuple(
          inner(kind),
          fc.constantFrom("second", "minute", "hour", "day", "week", "month", "quarter", "year").map(same),
        ).map(([t, unit]) => both((p) => `date_trunc('${p(unit)}', ${p(t)})`)),
        tuple(
          inner(kind),
          fc
            .constantFrom("15 minutes", "1 hour", "7 days", "10 days", "1 month", "5 months", "2 years")
            .map(same),
        ).map(([t, span]) => both((p) => `time_bucket(INTERVAL '${p(span)}', ${p(t)})`)),
        tuple(inner(kind), fc.constantFrom("+ INTERVAL '90 minutes'", "- INTERVAL '3 days'").map(same)).map(
          ([t, span]) => both((p) => `(${p(t)} ${p(span)})`),
        ),
      );
    if (kind === "bool") {
      const of = fc.constantFrom(...available.filter((each) => each !== "bool"));
      add(
        of.chain((k) =>
          tuple(inner(k), inner(k), fc.constantFrom("=", "<>", "<", "<=", ">", ">=").map(same)).map(
            ([a, b, sign]) => both((p) => `(${p(a)} ${p(sign)} ${p(b)})`),
          ),
        ),
        of.chain((k) =>
          tuple(inner(k), literal(k), literal(k), fc.constantFrom("", "NOT ").map(same)).map(
            ([a, b, c, no]) => both((p) => `(${p(a)} ${p(no)}BETWEEN ${p(b)} AND ${p(c)})`),
          ),
        ),
        of.chain((k) =>
          tuple(inner(k), literal(k), inner(k), fc.constantFrom("", "NOT ").map(same)).map(([a, b, c, no]) =>
            both((p) => `(${p(a)} ${p(no)}IN (${p(b)}, ${p(c)}))`),
          ),
        ),
        of.chain((k) =>
          tuple(inner(k), literal(k), inner("bool"), fc.constantFrom("", "NOT ").map(same))
            .chain(([a, b, or, no]) =>
              fc.array(literal(k), { minLength: 9, maxLength: 12 }).map((list) => ({ a, b, or, no, list })),
            )
            .map(({ a, b, or, no, list }) =>
              both((p) => `(${p(or)} OR ${p(a)} ${p(no)}IN (${[...list, b].map(p).join(", ")}))`),
            ),
        ),
        of.chain((k) =>
          tuple(inner(k), fc.constantFrom("", "NOT ").map(same)).map(([a, no]) =>
            both((p) => `(${p(a)} IS ${p(no)}NULL)`),
          ),
        ),
        tuple(inner(kind), inner(kind), fc.constantFrom("AND", "OR").map(same)).map(([a, b, word]) =>
          both((p) => `(${p(a)} ${p(word)} ${p(b)})`),
        ),
        inner(kind).map((a) => both((p) => `(NOT ${p(a)})`)),
        tuple(
          inner(kind),
          fc.constantFrom("TRUE", "FALSE", "UNKNOWN", "NOT TRUE", "NOT FALSE", "NOT UNKNOWN").map(same),
        ).map(([a, word]) => ({
          ours: `(${a.ours} IS ${word.ours})`,
          duck: `(${a.duck} IS ${word.duck.replace("UNKNOWN", "NULL")})`,
        })),
        tuple(inner(kind), inner(kind)).map(([a, b]) => both((p) => `(${p(a)} = ${p(b)})`)),
        of.chain((k) =>
          tuple(inner(k), inner(k), fc.constantFrom("", "NOT ").map(same)).map(([a, b, no]) =>
            both((p) => `(${p(a)} IS ${p(no)}DISTINCT FROM ${p(b)})`),
          ),
        ),
      );
      if (has("text")) {
        const piece = fc.constantFrom(...kinds.get("text")!.flatMap((each) => each.values)).chain((text) =>
          fc.tuple(fc.nat(text.length), fc.nat(4)).map(([at, length]) =>
            Array.from(text.slice(at, at + length))
              .filter((sign) => !/[%_\\]|\p{Surrogate}/u.test(sign))
              .join(""),
          ),
        );
        add(
          tuple(
            inner("text"),
            fc
              .tuple(
                piece,
                piece,
                fc.constantFrom("a%", "%a", "%a%", "a", "a%b", "%"),
                fc.constantFrom("LIKE", "NOT LIKE"),
              )
              .map(([a, b, shape, word]) =>
                same(`${word} ${quoted(shape.replace(/[ab]/g, (sign) => (sign === "a" ? a : b)))}`),
              ),
          ).map(([text, test]) => both((p) => `(${p(text)} ${p(test)})`)),
        );
      }
    }
    return fc.oneof(...choices);
  };

  const any = (depth: number): Arb => fc.constantFrom<Kind>(...available).chain((kind) => expr(kind, depth));
  const condition = expr("bool", 3);
  const where = fc.option(condition, { nil: undefined, freq: 2 });
  const direction = fc.constantFrom(
    "",
    " ASC",
    " DESC",
    " DESC NULLS LAST",
    " ASC NULLS FIRST",
    " NULLS FIRST",
    " DESC NULLS FIRST",
  );
  /** PostgreSQL's places of NULL, which are not DuckDB's. */
  const spelled = (text: string) =>
    /NULLS/.test(text) ? text : text === " DESC" ? " DESC NULLS FIRST" : `${text} NULLS LAST`;

  const call: Arb = fc.oneof(
    fc.constant(same("count(*)")),
    any(1).map((a) => both((p) => `count(${p(a)})`)),
    any(1).map((a) => both((p) => `count(DISTINCT ${p(a)})`)),
    fc
      .tuple(fc.constantFrom<Kind>("integer", "float"), fc.constantFrom("sum", "avg", "min", "max"))
      .chain(([kind, f]) => expr(kind, 1).map((a) => both((p) => `${f}(${p(a)})`))),
    fc
      .tuple(
        fc.constantFrom<Kind>(...available.filter((kind) => kind !== "bool")),
        fc.constantFrom("min", "max"),
      )
      .chain(([kind, f]) => expr(kind, 1).map((a) => both((p) => `${f}(${p(a)})`))),
  );
  const aggregate: Arb = fc
    .tuple(call, fc.option(expr("bool", 1), { nil: undefined, freq: 3 }))
    .map(([of, test]) => (test ? both((p) => `${p(of)} FILTER (WHERE ${p(test)})`) : of));
  const overAggregates: Arb = fc.oneof(
    { arbitrary: aggregate, weight: 4 },
    {
      arbitrary: expr("integer", 1).map((a) => ({
        ours: `sum(${a.ours}) / count(*)`,
        duck: `sum(${a.duck})::BIGINT // count(*)`,
      })),
      weight: 1,
    },
    {
      arbitrary: expr("integer", 1).map((a) =>
        both((p) => `CASE WHEN count(${p(a)}) > 5 THEN max(${p(a)}) - min(${p(a)}) ELSE 0 END`),
      ),
      weight: 1,
    },
    { arbitrary: expr("integer", 1).map((a) => both((p) => `COALESCE(min(${p(a)}), -1) + 1`)), weight: 1 },
  );
  const having: Arb = fc.oneof(
    fc.integer({ min: 0, max: 6 }).map((n) => same(`count(*) > ${n}`)),
    expr("integer", 1).map((a) => both((p) => `max(${p(a)}) IS NOT NULL AND NOT (min(${p(a)}) = 0)`)),
  );

  const limit = fc.option(fc.tuple(fc.nat(30), fc.option(fc.nat(20), { nil: undefined })), {
    nil: undefined,
  });
  const tail = (cut: [number, number | undefined] | undefined) =>
    cut ? ` LIMIT ${cut[0]}${cut[1] === undefined ? "" : ` OFFSET ${cut[1]}`}` : "";
  const list = (exprs: Both[]): Both =>
    both((p) => exprs.map((each, i) => `${p(each)} AS c${i + 1}`).join(", "));
  const filter = (test: Both | undefined): Both => (test ? both((p) => ` WHERE ${p(test)}`) : same(""));
  /** ORDER BY the first `count` columns in some directions. */
  const ordering = (count: number): fc.Arbitrary<Both> =>
    fc.array(direction, { minLength: count, maxLength: count }).map((directions) => ({
      ours: directions.map((each, i) => `${i % 2 ? `c${i + 1}` : i + 1}${each}`).join(", "),
      duck: directions.map((each, i) => `${i + 1}${spelled(each)}`).join(", "),
    }));

  const projection = fc
    .tuple(fc.array(any(2), { minLength: 1, maxLength: 4 }), where, fc.boolean(), limit)
    .chain(([exprs, test, distinct, cut]) =>
      ordering(exprs.length).map(
        (order): RandomQuery => ({
          ...both(
            (p) =>
              `SELECT ${distinct ? "DISTINCT " : ""}${p(list(exprs))} FROM t${p(filter(test))} ORDER BY ${p(order)}${tail(cut)}`,
          ),
          ordered: true,
        }),
      ),
    );
  const grouping = fc
    .tuple(
      fc.array(any(1), { minLength: 1, maxLength: 4 }),
      fc.array(overAggregates, { minLength: 1, maxLength: 3 }),
      where,
      fc.option(having, { nil: undefined }),
      fc.option(limit, { nil: null }),
    )
    .chain(([keys, aggregates, test, test2, cut]) =>
      ordering(keys.length).map(
        (order): RandomQuery => ({
          ...both((p) => {
            const end = cut === null ? "" : ` ORDER BY ${p(order)}${tail(cut)}`;
            const group = keys.map((_, i) => i + 1).join(", ");
            return `SELECT ${p(list([...keys, ...aggregates]))} FROM t${p(filter(test))} GROUP BY ${group}${test2 ? ` HAVING ${p(test2)}` : ""}${end}`;
          }),
          ordered: cut !== null,
        }),
      ),
    );
  const totals = fc.tuple(fc.array(overAggregates, { minLength: 1, maxLength: 4 }), where).map(
    ([aggregates, test]): RandomQuery => ({
      ...both((p) => `SELECT ${p(list(aggregates))} FROM t${p(filter(test))}`),
      ordered: true,
    }),
  );
  return fc.oneof(
    { arbitrary: projection, weight: 3 },
    { arbitrary: grouping, weight: 4 },
    { arbitrary: totals, weight: 1 },
  );
}
