/** The page of a host: its CPUs, its streams and how fast they go, as they are each second. */
import uPlot from "uplot";
import {
  connect,
  type Hallelujah,
  HallelujahError,
  type HostInfo,
  type JahInfo,
  type StreamInfo,
} from "../client/browser.ts";

const EVERY_MS = 1000;
/** Seconds that the chart shows. */
const CHART_S = 120;
const CHART_HEIGHT = 180;
const TOKEN = "hallelujah-token";
/** Told apart by more than their hue (Okabe and Ito). */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8a8a"];

const byId = (id: string) => document.getElementById(id)!;
const number = new Intl.NumberFormat("en");

let host: Hallelujah = hostHere();

function hostHere(): Hallelujah {
  const token = sessionStorage.getItem(TOKEN);
  return connect({ url: location.origin, ...(token === null ? undefined : { token }) });
}

/** An element with text and children, none of which is read as HTML. */
function element(tag: string, text = "", ...children: HTMLElement[]): HTMLElement {
  const made = document.createElement(tag);
  made.append(text, ...children);
  return made;
}

function bytes(count: number): string {
  const power = Math.min(3, Math.floor(Math.log(Math.max(1, count)) / Math.log(1000)));
  return `${Number((count / 1000 ** power).toPrecision(3))} ${["B", "kB", "MB", "GB"][power]}`;
}

function showHost({ version, cpus, memoryBytes, startedAt }: HostInfo): void {
  const since = new Date(startedAt).toLocaleString();
  const line = byId("host");
  line.className = "";
  line.textContent = `${version}, up since ${since}; ${cpus.free} of ${cpus.total} CPUs free; ${bytes(memoryBytes)}`;
}

function showJahs(jahs: JahInfo[]): void {
  const items = jahs
    .toSorted((a, b) => a.cpu - b.cpu)
    .map(({ cpu, stream, kind, state, busy, memoryBytes }) => {
      const percent = Math.round(busy * 100);
      const share = element("i");
      share.style.width = `${percent}%`;
      const bar = element("div", "", share);
      bar.className = "bar";
      const words = `${kind}, ${state}, ${percent} % busy, ${bytes(memoryBytes)}`;
      return element("li", `CPU ${cpu}: ${stream} `, element("br"), element("small", words), bar);
    });
  byId("cpus").replaceChildren(...(items.length ? items : [element("li", "no Jah at work")]));
}

function backlogOf({ backlog }: StreamInfo): string {
  if (!backlog.bytes) return "none";
  return `${bytes(backlog.bytes)}, ${backlog.seconds === null ? "waits" : `${backlog.seconds.toFixed(1)} s`}`;
}

function rowsOf(stream: StreamInfo): HTMLElement[] {
  const { name, state, jahs, min, max, shards, error } = stream;
  const cells = [
    state,
    `${jahs} (${min} to ${max})`,
    String(shards.length),
    number.format(Math.round(stream.recordsPerSecond)),
    backlogOf(stream),
    number.format(stream.records),
    number.format(stream.badRecords),
    number.format(stream.lateRecords),
    number.format(stream.deadLetters),
  ];
  const head = element("th", name);
  head.setAttribute("scope", "row");
  const row = element("tr", "", head, ...cells.map((cell) => element("td", cell)));
  const lost = shards.find(({ unavailable }) => unavailable)?.unavailable;
  const problem = error ?? (lost && `a shard is unavailable: ${lost.reason}; ${lost.next}`);
  if (problem === undefined) return [row];
  const words = element("td", problem);
  words.className = "error";
  words.setAttribute("colspan", String(cells.length + 1));
  return [row, element("tr", "", words)];
}

function showStreams(streams: StreamInfo[]): void {
  byId("streams").replaceChildren(...streams.flatMap(rowsOf));
  byId("none").hidden = streams.length > 0;
}

/** Rates of the last two minutes, by stream. */
class Chart {
  private times: number[] = [];
  private rates = new Map<string, (number | null)[]>();
  private plot: uPlot | undefined;
  private names = "";

  add(streams: StreamInfo[]): void {
    const room = Math.ceil((CHART_S * 1000) / EVERY_MS);
    this.times = [...this.times, Date.now() / 1000].slice(-room);
    const before = this.rates;
    this.rates = new Map(
      streams.map(({ name, recordsPerSecond }) => {
        const known = before.get(name) ?? Array<null>(this.times.length - 1).fill(null);
        return [name, [...known, recordsPerSecond].slice(-room)];
      }),
    );
    this.draw();
  }

  private draw(): void {
    const names = [...this.rates.keys()];
    const data: uPlot.AlignedData = [this.times, ...this.rates.values()];
    // Series of a plot are fixed: other streams need another plot.
    if (!this.plot || names.join() !== this.names) {
      this.plot?.destroy();
      this.names = names.join();
      this.plot = new uPlot(this.options(names), data, byId("chart"));
    } else this.plot.setData(data);
  }

  private options(names: string[]): uPlot.Options {
    const { color } = getComputedStyle(document.body);
    const axis = { stroke: color, grid: { stroke: "#8884", width: 1 } };
    return {
      width: byId("chart").clientWidth,
      height: CHART_HEIGHT,
      axes: [axis, { ...axis, size: 80, values: (_, ticks) => ticks.map((tick) => number.format(tick)) }],
      scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.05)] } },
      series: [
        {},
        ...names.map((label, i) => ({
          label,
          stroke: COLOURS[i % COLOURS.length],
          width: 2,
          value: (_: uPlot, rate: number | null) => (rate === null ? "" : number.format(Math.round(rate))),
        })),
      ],
    };
  }

  resize(): void {
    this.plot?.setSize({ width: byId("chart").clientWidth, height: CHART_HEIGHT });
  }
}

const chart = new Chart();

function askForToken(asked: boolean): void {
  byId("login").hidden = !asked;
  if (asked) byId("main").hidden = true;
}

async function look(): Promise<void> {
  const signal = AbortSignal.timeout(10 * EVERY_MS);
  const [info, streams, jahs] = await Promise.all([
    host.host({ signal }),
    host.streams({ signal }),
    host.jahs({ signal }),
  ]);
  askForToken(false);
  byId("main").hidden = false;
  showHost(info);
  showJahs(jahs);
  showStreams(streams);
  chart.add(streams);
}

function complain(error: unknown): void {
  const line = byId("host");
  line.className = "lost";
  if (error instanceof HallelujahError && error.code === "unauthorized") {
    askForToken(true);
    line.textContent = sessionStorage.getItem(TOKEN) === null ? "" : "this is not its token";
  } else line.textContent = `the host does not answer: ${(error as Error).message}`;
}

/** Looks while the page is seen. */
async function go(): Promise<void> {
  if (!document.hidden) await look().catch(complain);
  setTimeout(() => void go(), EVERY_MS);
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, (byId("token") as HTMLInputElement).value);
  host = hostHere();
  void look().catch(complain);
});
window.addEventListener("resize", () => chart.resize());
void go();
