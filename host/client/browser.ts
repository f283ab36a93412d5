/** The part of the library that runs in browsers: a host over HTTP. */
export { HallelujahError } from "../core/errors.ts";
export * from "./live.ts";
