// stations.ts: temperature of each weather station
import { Stats, Table, Text } from "hallelujah";

@record class Reading { station: Text; temperature: f64 }      // what is needed of each input record
@state  class Weather { temperature: Stats }                   // what is kept: count, sum, min, max, mean

const stations = new Table<Text, Weather>("stations");

export function each(reading: Reading): void {
  stations.at(reading.station).temperature.add(reading.temperature);
}
