/**
 * The calls of the system by which a log gets to its files, as Node has them. A simulated host has files of its own, so that what is lost
 * when power goes is known.
 */
import * as fs from "node:fs";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { makeFolder } from "./durable.ts";

export interface Files {
  makeFolder(path: string): void;
  /** Names. */
  readdirSync(folder: string): string[];
  openSync(path: string, flags: "r" | "r+"): number;
  closeSync(fd: number): void;
  fstatSync(fd: number): { size: number; mtimeMs: number };
  readSync(fd: number, into: Buffer, offset: number, length: number, position: number): number;
  ftruncateSync(fd: number, size: number): void;
  fsyncSync(fd: number): void;
  writeFileSync(path: string, bytes: Buffer): void;
  renameSync(from: string, to: string): void;
  /** Whether it is there or not. */
  removeSync(path: string): void;
  open(path: string, flags: "r" | "r+" | "wx+"): Promise<FileHandle>;
  unlink(path: string): Promise<void>;
}

export const FILES: Files = {
  makeFolder,
  readdirSync: (folder) => fs.readdirSync(folder),
  openSync: (path, flags) => fs.openSync(path, flags),
  closeSync: (fd) => fs.closeSync(fd),
  fstatSync: (fd) => fs.fstatSync(fd),
  readSync: (fd, into, offset, length, position) => fs.readSync(fd, into, offset, length, position),
  ftruncateSync: (fd, size) => fs.ftruncateSync(fd, size),
  fsyncSync: (fd) => fs.fsyncSync(fd),
  writeFileSync: (path, bytes) => fs.writeFileSync(path, bytes),
  renameSync: (from, to) => fs.renameSync(from, to),
  removeSync: (path) => fs.rmSync(path, { force: true }),
  open,
  unlink,
};
