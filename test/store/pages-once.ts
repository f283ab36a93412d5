/**
 * Opens the store in the folder that is argument 1, takes its newest checkpoint, writes one more, and prints what was there, or the
 * code of the error. For runs under another Node.
 */
import { openPages } from "../../host/store/pages.ts";
import { restored, put, sorted } from "./pages-suite.ts";

try {
  const store = await openPages(process.argv[2]);
  const newest = store.checkpoints[0];
  const content = newest ? sorted(await restored(store, newest.number)) : [];
  await put(store, new Map([[2048 + content.length, 1 + content.length]]));
  await store.commit(content.length + 1);
  await store.close();
  console.log(JSON.stringify(content.length));
} catch (error) {
  console.log(JSON.stringify((error as { code: string }).code));
}
