// flights.ts: delays by origin airport, in minutes
import { Optional, Stats, Table, Text } from "hallelujah";

@record class Flight { origin: Text; delay: Optional<i32> }
@state  class Delays { delay: Stats }

const origins = new Table<Text, Delays>("origins");

export function each(flight: Flight): void {
  if (flight.delay.present) origins.at(flight.origin).delay.add(flight.delay.value);
}
