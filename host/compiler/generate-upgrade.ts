/**
 * The part of a state's class by which entries of the kernel before become its own. What an old value had is copied to a fixed
 * place, as the author's class of it has it; fields of the same name and type are in the new entry already (kernel/upgrade.ts).
 *
 * A field that stays and holds blocks is one thing and not two: in the old value it is that of the new entry, whose address
 * stands behind the old value's fields.
 */
import { className, type KernelModel, kernelName, type StateModel } from "./kernel-model.ts";
import { fullType, holdsBlocks, layoutState, sizeOfFields } from "./state-layout.ts";
import type { StateField } from "./descriptor.ts";

/** What the class of a state has if there is a function that upgrades it: `head` stands in front of the class. */
export function upgradeOf(state: StateModel, model: KernelModel): { head: string; methods: string } {
  const upgrade = model.upgrades.find(({ table }) => table.state === state.name);
  if (!upgrade) return { head: "", methods: "" };
  const old = layoutState(model.states.find(({ name }) => name === upgrade.from)!);
  const place = `OLD_${state.name}`;
  const size = sizeOfFields(old);
  const stays = staying(old, layoutState(state));
  const drops = old
    .filter((field) => holdsBlocks(field) && !stays.has(field.name))
    .map((field) => `    changetype<${fullType(field)}>(${place} + ${field.offset}).drop();`);
  return {
    head: `const ${place}: usize = memory.data(${size + 8}, 8);`,
    methods: `  __old(): usize {
    return ${place};
  }
  __upgrade(): void {
    store<u32>(${place} + ${size}, <u32>changetype<usize>(this));
    this.__touch();
    ${kernelName(upgrade.name)}(changetype<${className(upgrade.from)}>(${place}), this);
${drops.join("\n")}
  }`,
  };
}

/** Accessors of an old state for the fields that are one with those of the new entry, by their names. */
export function aliasesOf(state: StateModel, model: KernelModel): Map<string, string> {
  const upgrade = model.upgrades.find(({ from }) => from === state.name);
  if (!upgrade) return new Map();
  const old = layoutState(state);
  const next = layoutState(model.states.find(({ name }) => name === upgrade.table.state)!);
  const stays = staying(old, next);
  return new Map(
    old
      .filter((field) => holdsBlocks(field) && stays.has(field.name))
      .map((field) => {
        const full = fullType(field);
        const at = `<usize>load<u32>(changetype<usize>(this) + ${sizeOfFields(old)}) + ${stays.get(field.name)}`;
        return [field.name, `  @inline get ${field.name}(): ${full} { return changetype<${full}>(${at}); }`];
      }),
  );
}

/** Fields of the same name and type, and where they lie in the new state. */
function staying(old: StateField[], next: StateField[]): Map<string, number> {
  return new Map(
    next
      .filter((field) =>
        old.some(
          ({ name, aggregate, type }) =>
            name === field.name && aggregate === field.aggregate && type === field.type,
        ),
      )
      .map(({ name, offset }) => [name, offset]),
  );
}
