/** What comes from other Jahs is not as they write it: it is found out before anything is written where it does not belong. */
export function damaged(): void {
  throw new Error("entries of another Jah are damaged");
}
