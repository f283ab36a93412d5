// sessions.ts: the visits of each user; one ends after half an hour without an event
//   {"user":"ann","at":"2024-05-01T10:00:00Z","page":"/shoes"}
import { Count, Distinct, Last, Sessions, Text, Time, Window, out } from "hallelujah";

@record class Event { user: Text; @time(60_000) at: Time; page: Text }
@record class Visit { user: Text; start: Time; seconds: i64; events: u64; pages: u64; exit: Text }
@state  class Open { events: Count; pages: Distinct; exit: Last<Text> }

const open = new Sessions<Text, Open>("open", 30 * 60_000);

export function key(event: Event): Text {
  return event.user;
}

export function fold(event: Event, visit: Open): void {
  visit.events.add();
  visit.pages.add(event.page);
  visit.exit.add(event.page);
}

export function close(window: Window, user: Text, visit: Open): void {
  const row = new Visit();
  row.user = user;
  row.start = window.start;
  row.seconds = (window.end.ms - window.start.ms) / 1000;
  row.events = visit.events.value;
  row.pages = visit.pages.value;
  row.exit = visit.exit.value;
  out.emit(row);
}
