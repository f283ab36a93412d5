// strikes.ts: birds that struck aircraft, by state and by species
import { Count, First, Last, Max, Optional, Stats, Sum, Table, Text } from "hallelujah";

@record class Strike {
  @name("Origin State") state: Text;
  @name("Wildlife Species") species: Text;
  @name("Airport Name") airport: Text;
  @name("Cost Total $") cost: i64;
  @name("Speed IAS in knots") speed: Optional<f64>;
}
@state class Place { strikes: Count; cost: Sum<i64>; speed: Stats }
@state class Species { strikes: Count; fastest: Max; firstAt: First<Text>; lastAt: Last<Text> }

const states = new Table<Text, Place>("states");
const species = new Table<Text, Species>("species");

export function each(strike: Strike): void {
  const place = states.at(strike.state);
  place.strikes.add();
  place.cost.add(strike.cost);
  const kind = species.at(strike.species);
  kind.strikes.add();
  kind.firstAt.add(strike.airport);
  kind.lastAt.add(strike.airport);
  if (strike.speed.present) {
    place.speed.add(strike.speed.value);
    kind.fastest.add(strike.speed.value);
  }
}
