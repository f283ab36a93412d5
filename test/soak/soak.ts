/**
 * Nothing is lost: producers push numbered records into the streams of one host at full rate while its processes are
 * killed, capacities, shards and kernels are changed, and tables are asked for; now and then the data folder is copied as a loss of
 * power would leave it, and a host started from the copy. At the end everything is compared with what was acknowledged.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Answers } from "./answers.ts";
import { Changes } from "./changes.ts";
import { Disturbances } from "./disturb.ts";
import { rolledBackLate } from "./late.ts";
import { Run, type SoakOptions, type SoakSummary } from "./run.ts";
import { STREAMS } from "./streams.ts";
import { Subscriber } from "./subscriber.ts";
import { piecesOf, settle, verify } from "./verify.ts";

/** Rejects with what was lost or wrong, and where the folder is that shows it. */
export async function soak(options: SoakOptions): Promise<SoakSummary> {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-soak-"));
  const run = new Run(options, folder);
  const disturbances = new Disturbances(run);
  try {
    await happen(run, disturbances);
    rmSync(folder, { recursive: true, force: true });
    return run.summary;
  } catch (error) {
    throw new Error(
      `seed ${options.seed}: ${(error as Error).message}\nIts data and its journal are kept in ${folder}`,
      { cause: error },
    );
  } finally {
    run.abandon(new Error("it is over"));
    run.host.end();
    disturbances.end();
  }
}

async function happen(run: Run, disturbances: Disturbances): Promise<void> {
  const { host, over, abandoned, summary } = run;
  const changes = new Changes(run);
  await host.start();
  await changes.deploy();
  run.startedAt = performance.now();
  const outputs = STREAMS.filter(({ output }) => output).map((stream) => new Subscriber(stream));
  const following = outputs.map((each) => run.watched(each.follow(host, abandoned.signal)));
  const answers = STREAMS.map((stream) => ({ stream, asking: new Answers(run, stream) }));
  const happening = [
    ...run.loaders.map((loader) =>
      loader.run(host.client, () => run.allowed(loader.stream), over.signal, abandoned.signal),
    ),
    ...answers.map(({ asking }) => asking.ask()),
    changes.capacities(),
    ...[
      STREAMS.filter(({ keeps }) => keeps),
      STREAMS.filter(({ keeps, stops }) => !keeps && !stops),
      STREAMS.filter(({ stops }) => stops),
    ].map((streams) => changes.ofKernels(streams)),
    disturbances.run(),
  ].map((work) => run.watched(work));
  await Promise.race([run.pause(run.options.seconds * 1000), Promise.all(happening)]);
  over.abort();
  await Promise.all(happening);
  abandoned.signal.throwIfAborted();

  run.say("the time is over");
  const { taken } = run;
  await settle(host.client, abandoned.signal);
  run.say("everything is applied");
  Object.assign(summary, await verify(host.client, host.folder, taken));
  for (const each of outputs) await each.complete(host, taken, abandoned.signal);
  for (const { stream, asking } of answers) asking.check(await piecesOf(stream, host.folder, taken));
  run.say("all is there: once more after an orderly end");
  await host.stop();
  await host.start();
  // What a kernel made of frames within its trial was not saved.
  await settle(host.client, abandoned.signal);
  await verify(host.client, host.folder, taken, { outputs: false });
  abandoned.abort(new Error("it is over"));
  await Promise.allSettled(following);
  await host.stop();
  const trials = STREAMS.find(({ stops }) => stops)!;
  const pieces = await piecesOf(trials, host.folder, taken);
  summary.rolledBackLate = rolledBackLate(pieces, taken.histories.get(trials.name)!, trials.stops!);
  summary.bodies = run.loaders.reduce((sum, { sequence }) => sum + sequence, 0);
}
