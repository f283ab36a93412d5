/** A process that fills a store until it is killed: argument 1 is the folder, 2 the seed. Says each round that it committed. */
import { pathToFileURL } from "node:url";
import { openPages } from "../../host/store/pages.ts";
import { type Content, put } from "./pages-suite.ts";

/** What round `round` writes: always the same, so that others know what has to be there. */
export function contentOf(seed: number, round: number): Content {
  const content: Content = new Map();
  for (let i = 0; i <= (seed + round * 7) % 20; i++)
    content.set(2048 + ((seed + round * 31 + i * i * 5) % 40), round * 1000 + i + 1);
  return content;
}

/** All that is there after round `round`. */
export function contentAfter(seed: number, round: number): Content {
  const content: Content = new Map();
  for (let each = 1; each <= round; each++)
    for (const [page, word] of contentOf(seed, each)) content.set(page, word);
  return content;
}

async function write(folder: string, seed: number): Promise<void> {
  const store = await openPages(folder);
  let round = 0;
  if (store.checkpoints.length) {
    await store.restore(store.checkpoints[0].number, () => {});
    round = (store.checkpoints[0].meta as { round: number }).round;
  }
  for (;;) {
    round++;
    // Some of it in vain, and some twice, as pages change again while they are copied.
    if (round % 4 === 0) {
      await put(store, new Map([[2047, round]]));
      await store.abandon();
    }
    const content = contentOf(seed, round);
    await put(store, new Map([...content].map(([page]) => [page, 1])));
    await put(store, content);
    await store.commit({ round });
    process.send!(round);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  await write(process.argv[2], Number(process.argv[3]));
