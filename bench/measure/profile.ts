/** What a daemon's processor time went into, from a CPU profile that V8 wrote (`node --cpu-prof`). Pure. */

/** As in the file; times in microseconds, on the clock that all processes of a machine share. */
export interface CpuProfile {
  readonly startTime: number;
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    readonly children?: readonly number[];
  }[];
  /** Which node was running, and how long after the sample before. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Functions and what they called, as rectangles of a flame graph. */
export interface Flame {
  readonly name: string;
  readonly area: string;
  /** With all that it called. */
  readonly ms: number;
  readonly children: readonly Flame[];
}

export interface Profile {
  /** Milliseconds by part of the code: a folder of src, a package, garbage collection. */
  readonly areas: ReadonlyMap<string, number>;
  readonly flame: Flame;
}

interface Frame {
  readonly name: string;
  /** null for what Node.js does on behalf of its caller. */
  readonly area: string | null;
}

interface Growing {
  readonly frame: Frame;
  ms: number;
  readonly children: Map<string, Growing>;
}

const NODE = "Node.js";
/** What is less has no room for its name. */
const SHARE_MIN = 0.01;

/** @param window of the shared clock, in milliseconds: what came before is the start, which happens once */
export function readProfile(
  profile: CpuProfile,
  window: { readonly fromMs: number; readonly toMs: number },
): Profile {
  const stackOf = indexStacks(profile);
  const areas = new Map<string, number>();
  const root: Growing = { frame: { name: "busy", area: null }, ms: 0, children: new Map() };
  let at = profile.startTime;
  for (const [index, id] of profile.samples.entries()) {
    at += profile.timeDeltas[index] ?? 0;
    const stack = stackOf(id);
    const ms = (profile.timeDeltas[index + 1] ?? 0) / 1_000;
    if (at / 1_000 < window.fromMs || at / 1_000 > window.toMs || stack === null) continue;

    const area = stack.findLast((frame) => frame.area !== null)?.area ?? NODE;
    areas.set(area, (areas.get(area) ?? 0) + ms);
    let growing = root;
    growing.ms += ms;
    for (const frame of toBranch(stack)) growing = grow(growing, frame, ms);
  }
  return { areas, flame: toFlame(root, NODE, root.ms * SHARE_MIN) };
}

/** From the outermost call inwards; null while nothing ran. */
function indexStacks({ nodes }: CpuProfile): (id: number) => readonly Frame[] | null {
  const frameOf = new Map(nodes.map(({ id, callFrame }) => [id, toFrame(callFrame)]));
  const callerOf = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  );
  return (id) => {
    const stack: Frame[] = [];
    for (let at: number | undefined = id; at !== undefined; at = callerOf.get(at)) {
      const frame = frameOf.get(at);
      if (frame?.name === "(idle)") return null;
      if (frame !== undefined && frame.name !== "(root)") stack.unshift(frame);
    }
    return stack;
  };
}

function toFrame({ functionName, url }: CpuProfile["nodes"][number]["callFrame"]): Frame {
  if (functionName === "(garbage collector)")
    return { name: functionName, area: "garbage collection" };
  const dependency = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  // The driver is several packages.
  if (dependency !== undefined)
    return { name: dependency, area: dependency.replace(/^pg-.*/, "pg") };
  const own = /\/(src\/(?:[^/]+\/)?)([^/]+)\.ts$/.exec(url);
  if (own === null) return { name: functionName || NODE, area: null };
  return { name: functionName || `(${own[2]})`, area: own[1]?.replace(/\/$/, "") ?? null };
}

/** The calls that are told apart, and of Node.js only what was running. */
function toBranch(stack: readonly Frame[]): Frame[] {
  const branch: Frame[] = [];
  for (const frame of stack) {
    if (frame.area !== null && !isPartOf(branch.at(-1), frame)) branch.push(frame);
  }
  const running = stack.at(-1);
  return running?.area === null ? [...branch, running] : branch;
}

/** A package is one call, a recursion is one, and a function without a name belongs to the function that called it. */
function isPartOf(caller: Frame | undefined, { name, area }: Frame): boolean {
  if (caller?.area !== area) return false;
  return !area?.startsWith("src") || name === caller.name || name.startsWith("(");
}

function grow(parent: Growing, frame: Frame, ms: number): Growing {
  const key = `${frame.area} ${frame.name}`;
  const child = parent.children.get(key) ?? { frame, ms: 0, children: new Map() };
  child.ms += ms;
  parent.children.set(key, child);
  return child;
}

function toFlame({ frame, ms, children }: Growing, areaOfCaller: string, msMin: number): Flame {
  const area = frame.area ?? areaOfCaller;
  return {
    name: frame.name,
    area,
    ms: Math.round(ms * 10) / 10,
    children: [...children.values()]
      .filter((child) => child.ms >= msMin)
      .sort((a, b) => b.ms - a.ms)
      .map((child) => toFlame(child, area, msMin)),
  };
}
