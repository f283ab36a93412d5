/** What Prometheus scrapes: gauges and counters of the host and each stream, read when they are asked for. */
import type { Host } from "../host.ts";

/** The text format, version 0.0.4. */
export async function metricsText(host: Host): Promise<string> {
  const { Gauge, Registry } = await import("prom-client");
  const registry = new Registry();
  const gauge = (name: string, help: string, labels: string[] = []) =>
    new Gauge({ name: `hallelujah_${name}`, help, labelNames: labels, registers: [registry] });
  const { cpus, memoryBytes, jahs } = host.host();
  gauge("cpus", "CPUs that Jahs may have").set(cpus.total);
  gauge("cpus_free", "CPUs that no Jah has").set(cpus.free);
  gauge("jahs", "Jahs").set(jahs);
  gauge("hallelu_resident_bytes", "resident memory of the Hallelu").set(memoryBytes);
  const by = ["stream"];
  const streams = {
    backlogBytes: gauge("stream_backlog_bytes", "bytes logged and not applied", by),
    records: gauge("stream_records_total", "records that were mapped", by),
    badRecords: gauge("stream_bad_records_total", "records that did not fit", by),
    lateRecords: gauge("stream_late_records_total", "records that came too late for their window", by),
    deadLetters: gauge("stream_dead_letters", "frames that were set aside", by),
    outputs: gauge("stream_output_rows_total", "rows of output", by),
    frames: gauge("stream_frames_total", "frames logged", by),
    checkpoints: gauge("stream_checkpoints_total", "checkpoints that were made", by),
    checkpointBytes: gauge("stream_checkpoint_bytes_total", "bytes of pages written for checkpoints", by),
    checkpointSeconds: gauge(
      "stream_checkpoint_seconds_total",
      "time from the moments of checkpoints until they were durable",
      by,
    ),
    savedFrame: gauge("stream_saved_frame", "the lowest frame that is not on disk as state everywhere", by),
    frame: gauge("stream_applied_frame", "the lowest frame that is not applied everywhere", by),
    jahs: gauge("stream_jahs", "Jahs of the stream", by),
  };
  for (const info of host.streams()) {
    const labels = { stream: info.name };
    streams.backlogBytes.set(labels, info.backlog.bytes);
    streams.records.set(labels, info.records);
    streams.badRecords.set(labels, info.badRecords);
    streams.lateRecords.set(labels, info.lateRecords);
    streams.deadLetters.set(labels, info.deadLetters);
    streams.outputs.set(labels, info.outputs);
    streams.frames.set(labels, info.frames);
    streams.checkpoints.set(labels, info.checkpoints.count);
    streams.checkpointBytes.set(labels, info.checkpoints.bytes);
    streams.checkpointSeconds.set(labels, info.checkpoints.ms / 1000);
    streams.savedFrame.set(labels, info.checkpoints.frame);
    streams.frame.set(labels, info.frame);
    streams.jahs.set(labels, info.jahs);
  }
  const jah = ["jah", "stream", "cpu"];
  const busy = gauge("jah_busy_ratio", "share of the last second in which the Jah worked", jah);
  const memory = gauge("jah_resident_bytes", "resident memory of the Jah", jah);
  for (const info of host.jahs()) {
    const labels = { jah: String(info.jah), stream: info.stream, cpu: String(info.cpu) };
    busy.set(labels, info.busy);
    memory.set(labels, info.memoryBytes);
  }
  return registry.metrics();
}
