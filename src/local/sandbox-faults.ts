/** What goes wrong in the sandbox on purpose: the faults that can be set, and which of them a request meets. */
import { z } from "zod";
import type { SandboxRequest } from "./sandbox-requests.ts";

/** What goes wrong with a request. The parts combine: first the delay, then what happens to the command, then the answer. */
export type SandboxFault = z.infer<typeof faultShape>;

/** `next`: each for one request, the first that fits. `always`: for all that fit, until switched off. */
export type SandboxFaults = z.infer<typeof faultsShape>;

const faultShape = z.strictObject({
  /** Only these operations; without it create, update and delete. */
  on: z.enum(["token", "create", "update", "delete", "lookup"]).optional(),
  /** Only this account number. */
  code: z.string().optional(),
  /** Only bodies with this text. In `always` it comes before all of `next`: what is wrong with one body stays wrong. */
  containing: z.string().optional(),
  delayMs: z.number().min(0).optional(),
  /** Answers this status, without applying the command unless `applied` says so. */
  status: z.number().int().min(200).max(599).optional(),
  applied: z.boolean().optional(),
  retryAfter: z.union([z.number(), z.string()]).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  /** A string goes out as HTML, anything else as JSON. Instead of the usual answer; the command is applied. */
  body: z.unknown().optional(),
  /** Closes the connection before or after the command was applied. */
  dropConnection: z.enum(["before", "after"]).optional(),
  /** Applies the command and breaks off in the middle of the answer. */
  cutOff: z.boolean().optional(),
  /** What is dropped or cut off ends with a reset, as when a process dies, and not like a connection that is closed. */
  reset: z.boolean().optional(),
  /** Pads the answer with blanks to this many bytes; a client that reads all of it finds it valid. */
  floodBytes: z.number().int().min(0).optional(),
  /** Compresses the answer, asked for or not; with `floodBytes` a small body that unfolds without end. */
  gzip: z.boolean().optional(),
  /** The answer comes in pieces of one byte, so many milliseconds apart. */
  trickleMs: z.number().min(0).optional(),
  /** Never answers. */
  hang: z.boolean().optional(),
  /** Leaves these sections out of the answer. */
  omit: z.array(z.string()).optional(),
  /** Turns the arrays of the answer around. */
  reverse: z.boolean().optional(),
});

export const faultsShape = z.strictObject({
  next: z.array(faultShape).optional(),
  always: faultShape.optional(),
});

export type FaultPlan = ReturnType<typeof createFaultPlan>;

export function createFaultPlan() {
  let next: SandboxFault[] = [];
  let always: SandboxFault | null = null;
  let cleared = new AbortController();

  return {
    set(faults: SandboxFaults): void {
      next = [...(faults.next ?? [])];
      always = faults.always ?? null;
    },

    get: (): SandboxFaults => (always === null ? { next } : { next, always }),

    clear(): void {
      next = [];
      always = null;
      cleared.abort();
      cleared = new AbortController();
    },

    /** Aborts when the faults that are set now are cleared. */
    cleared: (): AbortSignal => cleared.signal,

    /** The fault for this request, empty when there is none; one of `next` is used up. */
    take(request: FaultedRequest): SandboxFault {
      const stays = always !== null && fits(always, request) ? always : null;
      if (stays?.containing !== undefined) return stays;
      const index = next.findIndex((fault) => fits(fault, request));
      return (index >= 0 ? next.splice(index, 1)[0] : stays) ?? {};
    },
  };
}

type FaultedRequest = Pick<SandboxRequest, "operation" | "code" | "text">;

function fits(fault: SandboxFault, { operation, code, text }: FaultedRequest): boolean {
  const onOperation =
    fault.on === undefined
      ? operation !== "token" && operation !== "lookup"
      : fault.on === operation;
  return (
    onOperation &&
    (fault.code === undefined || fault.code === code) &&
    (fault.containing === undefined || text.includes(fault.containing))
  );
}
