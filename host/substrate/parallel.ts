/** Does something with each of many, some at a time. All that was begun has ended when it resolves, or rejects with what failed first. */
export async function inParallel<T>(
  all: Iterable<T>,
  atOnce: number,
  work: (each: T) => Promise<unknown>,
): Promise<void> {
  const rest = all[Symbol.iterator]();
  const failures: unknown[] = [];
  const worker = async () => {
    while (!failures.length) {
      const { value, done } = rest.next() as IteratorResult<T, undefined>;
      if (done) return;
      await work(value as T).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  if (failures.length) throw failures[0];
}
