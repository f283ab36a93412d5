// top-routes.ts: flights, delays and distances of each route
import { Count, Max, Pair, Quantiles, Table, Text, pair } from "hallelujah";

@record class Flight { origin: Text; destination: Text; delay: f64; distance: i32 }
@state  class Route { flights: Count; delay: Quantiles; distance: Max<i32> }

const routes = new Table<Pair<Text, Text>, Route>("routes");

export function each(flight: Flight): void {
  const route = routes.at(pair(flight.origin, flight.destination));
  route.flights.add();
  route.delay.add(flight.delay);
  route.distance.add(flight.distance);
}
