// everything.ts: every kind of aggregate, by keys of several kinds
import {
  Count,
  Distinct,
  First,
  Last,
  Max,
  Min,
  Quantiles,
  Stats,
  Sum,
  Table,
  Text,
  Top,
  pair,
  Pair,
} from "hallelujah";


@record class Row {
  key: Text;
  n: i64;
  x: f64;
}

@state class All {
  count: Count;
  sum: Sum;
  total: Sum<i64>;
  least: Min<i64>;
  most: Max;
  stats: Stats;
  first: First<Text>;
  last: Last<f64>;
  keys: Distinct;
  values: Quantiles;
  top: Top<Text>;
}

@state class Few {
  count: Count;
  sum: Sum;
}

const groups = new Table<i64, All>("groups");
const each1 = new Table<Text, Few>("keys");
const pairs = new Table<Pair<i64, bool>, Few>("pairs");

export function each(row: Row): void {
  const group = groups.at(row.n % 10);
  group.count.add();
  group.sum.add(row.x);
  group.total.add(row.n);
  group.least.add(row.n);
  group.most.add(row.x);
  group.stats.add(row.x);
  group.first.add(row.key);
  group.last.add(row.x);
  group.keys.add(row.key);
  group.values.add(row.x);
  group.top.add(row.key);
  const key = each1.at(row.key);
  key.count.add();
  key.sum.add(row.x);
  const both = pairs.at(pair<i64, bool>(row.n % 1000, row.x < 0));
  both.count.add();
  both.sum.add(row.x);
}
