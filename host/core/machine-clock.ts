/** A clock that never goes back, and that all processes of a machine have in common, ms. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
