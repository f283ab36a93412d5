/**
 * What windows and sessions come to, written plainly: records by frame, a watermark that moves between frames, maps. The
 * order of rows within a frame is not part of it: that follows from hashes, and is held to be the same for any number
 * of Jahs elsewhere.
 */

export interface Event {
  user: string;
  /** ms */
  at: number;
  page: string;
}

export interface Frame {
  events: Event[];
  /** The source ends here. */
  end?: boolean;
}

export interface Result {
  /** Rows that come out with each frame, each as its JSON. */
  frames: string[][];
  /** Records that came too late. */
  late: Event[];
}

const MINUTE = 60_000;
export const iso = (ms: number) => new Date(ms).toISOString();

/** The records of NDJSON by frames of so many bytes, and the end of the source as one more frame. */
export function framesOf(events: Event[], frameBytes: number): { text: string; frames: Frame[] } {
  const frames: Frame[] = [];
  let text = "";
  for (const event of events) {
    const index = Math.floor(Buffer.byteLength(text) / frameBytes);
    while (frames.length <= index) frames.push({ events: [] });
    frames[index].events.push(event);
    text += `${JSON.stringify({ ...event, at: iso(event.at) })}\n`;
  }
  const bytes = Buffer.byteLength(text);
  while (frames.length < Math.ceil(bytes / frameBytes)) frames.push({ events: [] });
  return { text, frames: [...frames, { events: [], end: true }] };
}

/** Advances over frames: `take` is told of each record, `close` of each watermark, which answers what is closed. */
function overFrames(
  frames: Frame[],
  lateness: number,
  take: (event: Event, watermark: number, rows: string[]) => void,
  close: (watermark: number) => { rows: string[]; latest: number },
): string[][] {
  let greatest = -Infinity;
  let watermark = -Infinity;
  return frames.map(({ events, end }) => {
    const rows: string[] = [];
    for (const event of events) take(event, watermark, rows);
    greatest = Math.max(greatest, ...events.map(({ at }) => at));
    watermark = Math.max(watermark, greatest - lateness);
    const closed = close(end ? Infinity : watermark);
    if (end) watermark = Math.max(watermark, closed.latest);
    return [...rows, ...closed.rows];
  });
}

/** Windows of `size` every `step`, by page: how many records, and of how many users. */
export function windows(
  frames: Frame[],
  size: number,
  step: number,
  lateness: number,
  folded: boolean,
): Result {
  const late: Event[] = [];
  /** By start of the span (a pane, or for fold a window) and page. */
  const panes = new Map<string, { start: number; page: string; users: string[] }>();
  const closedTo = new Map<string, number>();
  const spans = folded ? size : step;
  const take = (event: Event, watermark: number) => {
    const last = Math.floor(event.at / step) * step;
    const starts = folded
      ? Array.from({ length: size / step }, (_, i) => last - size + step * (i + 1))
      : [last];
    let taken = false;
    for (const start of starts) {
      if (start + size <= watermark) continue;
      taken = true;
      const key = `${start} ${event.page}`;
      const pane = panes.get(key) ?? { start, page: event.page, users: [] };
      pane.users.push(event.user);
      panes.set(key, pane);
    }
    if (!taken) late.push(event);
  };
  let before = -Infinity;
  const close = (watermark: number) => {
    const rows: string[] = [];
    let latest = -Infinity;
    const due = new Map<string, { end: number; page: string }>();
    for (const { start, page } of panes.values())
      for (let end = start + (folded ? size : spans); end <= Math.min(watermark, start + size); end += step)
        if (end > before) due.set(`${end} ${page}`, { end, page });
    for (const { end, page } of due.values()) {
      const users: string[] = [];
      for (const pane of panes.values())
        if (
          pane.page === page &&
          pane.start >= end - size &&
          pane.start < end &&
          (!folded || pane.start === end - size)
        )
          users.push(...pane.users);
      latest = Math.max(latest, end);
      rows.push(
        row({
          page,
          start: iso(end - size),
          end: iso(end),
          events: users.length,
          users: new Set(users).size,
        }),
      );
    }
    for (const [key, { start }] of panes) if (start + size <= watermark) panes.delete(key);
    before = Math.max(before, Number.isFinite(watermark) ? watermark : latest);
    return { rows, latest };
  };
  void closedTo;
  return { frames: overFrames(frames, lateness, take, close), late };
}

/** Sessions of users, that end `gap` after their last record. */
export function sessions(frames: Frame[], gap: number, lateness: number): Result {
  const late: Event[] = [];
  const open = new Map<string, { start: number; end: number; pages: string[] }>();
  const rowOf = (user: string, { start, end, pages }: { start: number; end: number; pages: string[] }) =>
    row({
      user,
      start: iso(start),
      minutes: Math.floor((end - start) / MINUTE),
      events: pages.length,
      pages: new Set(pages).size,
      first: pages[0],
      last: pages.at(-1),
    });
  const take = ({ user, at, page }: Event, watermark: number, rows: string[]) => {
    const session = open.get(user);
    if (session && at < session.end + gap) {
      if (at + gap <= session.start) return void late.push({ user, at, page });
      session.start = Math.min(session.start, at);
      session.end = Math.max(session.end, at);
      session.pages.push(page);
      return;
    }
    if (session) rows.push(rowOf(user, session));
    else if (at + gap <= watermark) return void late.push({ user, at, page });
    open.set(user, { start: at, end: at, pages: [page] });
  };
  const close = (watermark: number) => {
    const over = [...open].filter(([, { end }]) => end + gap <= watermark);
    for (const [user] of over) open.delete(user);
    return {
      rows: over.map(([user, session]) => rowOf(user, session)),
      latest: Math.max(-Infinity, ...over.map(([, { end }]) => end + gap)),
    };
  };
  return { frames: overFrames(frames, lateness, take, close), late };
}

function row(value: object): string {
  return JSON.stringify(value);
}
