// kept-flights.ts: delays by origin airport, and the flights themselves, for other kernels to visit
//   {"date":"2001-01-10T18:20:00Z","delay":95,"distance":342,"origin":"PHX","destination":"BUR"}
import { Dataset, Optional, Stats, Table, Text, Time } from "hallelujah";

@record class Flight { date: Time; delay: Optional<i32>; distance: i32; origin: Text; destination: Text }
@state  class Delays { delay: Stats }

const origins = new Table<Text, Delays>("origins");
const flights = new Dataset<Flight>("flights"); // all of them; ("flights", 1_000_000) keeps the last million

export function each(flight: Flight): void {
  flights.add(flight);
  if (flight.delay.present) origins.at(flight.origin).delay.add(flight.delay.value);
}
