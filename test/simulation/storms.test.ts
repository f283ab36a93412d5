/** Whole hosts on virtual time, on days with storms: in no seed is a rule broken. */
import { suite } from "uvu";
import { holds } from "./seeds.ts";

const test = suite("simulation: storms");

holds(test, "storms", ({ kind }) => kind === "storm");

test.run();
