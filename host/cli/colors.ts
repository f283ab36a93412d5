/**
 * Colors on a terminal, or where FORCE_COLOR asks for them. Not because CI is set, as picocolors has it: what a build server
 * runs is read by other programs as often as anywhere.
 */
import pc from "picocolors";

const { FORCE_COLOR } = process.env;
const isWanted = FORCE_COLOR ? FORCE_COLOR !== "0" : Boolean(process.stdout.isTTY);

export const colors = pc.createColors(pc.isColorSupported && isWanted);
