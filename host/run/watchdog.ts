/**
 * Finds out where a Jah is that does not answer: its inspector is opened by a signal, which works even while the
 * kernel loops, and the stack is read from the paused process.
 */
import type { Jah } from "./jahs.ts";

const PATIENCE_MS = 3000;

/** The frame in work and the stack, as far as they can be had. Takes 3 s at most. */
export async function stuckStack(jah: Jah): Promise<{ frame?: number; stack: string }> {
  if (process.platform === "win32") return { stack: "" };
  try {
    jah.child.kill("SIGUSR1");
    const deadline = performance.now() + PATIENCE_MS;
    while (!jah.inspector) {
      if (performance.now() > deadline) return { stack: "" };
      await new Promise((done) => setTimeout(done, 20));
    }
    return await readStack(jah.inspector, PATIENCE_MS);
  } catch {
    return { stack: "" };
  }
}

interface CallFrame {
  callFrameId: string;
  functionName: string;
  url: string;
  location: { columnNumber: number };
}

async function readStack(url: string, patienceMs: number): Promise<{ frame?: number; stack: string }> {
  const { WebSocket } = await import("undici");
  const socket = new WebSocket(url);
  try {
    return await new Promise((done) => {
      let frames: CallFrame[] = [];
      let stack = "";
      const timer = setTimeout(() => done({ stack }), patienceMs);
      const finish = (frame?: number) => {
        clearTimeout(timer);
        done(frame === undefined ? { stack } : { frame, stack });
      };
      const send = (id: number, method: string, params = {}) =>
        socket.send(JSON.stringify({ id, method, params }));
      socket.onopen = () => {
        send(1, "Debugger.enable");
        send(2, "Debugger.pause");
      };
      socket.onerror = () => finish();
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(String(data)) as {
          id?: number;
          method?: string;
          params?: { callFrames: CallFrame[] };
          result?: { result?: { value?: number } };
        };
        if (message.method === "Debugger.paused") {
          frames = message.params!.callFrames;
          stack = frames
            // Frames of WebAssembly come without an address.
            .map(
              ({ functionName, url: file, location }) =>
                `at ${functionName} (${file || "wasm://kernel"}:${location.columnNumber})`,
            )
            .join("\n");
          send(3, "Runtime.evaluate", { expression: "globalThis.hallelujahPipeline.frame" });
        } else if (message.id === 3) finish(message.result?.result?.value);
      };
    });
  } finally {
    socket.close();
  }
}
