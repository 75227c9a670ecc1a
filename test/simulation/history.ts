/**
 * One history: replicas, an application, people and an API, and at every step one thing that happens next, which the tape decides. Then the
 * faults stop, time goes on until everything rests, and the judge compares. Then people look at what was set aside, and everything has
 * to come to its end.
 *
 * Between two steps the event loop turns until nothing of ours can run, so that a history depends on nothing but its tape.
 */
import { ModelApi } from "./api.ts";
import { Application } from "./application.ts";
import type { Call, Fault, Gated } from "./gate.ts";
import { isAtRest, type JudgedAccount, judge, mayBeUnheard, readAccounts } from "./judge.ts";
import { People } from "./people.ts";
import { OTHER_CONFIG, Replica, type Settings } from "./replica.ts";
import type { Stage } from "./stage.ts";
import type { Tape } from "./tape.ts";
import { Timeline } from "./timeline.ts";

/** What is the same for all histories of a test. */
export interface Circumstances {
  readonly unknownOutcome: Settings["unknownOutcome"];
  readonly honoursKeys: boolean;
}

export interface Told {
  /** What is wrong; nothing, when all invariants hold. */
  readonly findings: readonly string[];
  readonly trace: readonly string[];
  readonly counts: Counts;
}

export interface Counts {
  events: number;
  calls: number;
  requests: number;
  faults: number;
  deaths: number;
  stops: number;
}

/** The longest rest that is waited for: backoff, lease, Retry-After and the API's timeout are all far below. */
const CALM_MAX_MS = 20 * 60_000;
const CALM_MAX_EVENTS = 3_000;
/** The generations of accounts there may be, and one more. */
const HELP_MAX = 5;
/** What batched.ts and the dispatcher let pass, and some more. */
const TURNS = 5;

export async function playHistory(
  stage: Stage,
  circumstances: Circumstances,
  tape: Tape,
): Promise<Told> {
  await stage.reset();
  const history = new History(stage, circumstances, tape);
  try {
    await history.play();
  } finally {
    await history.close();
  }
  return { findings: history.findings, trace: history.trace, counts: history.counts };
}

class History {
  readonly findings: string[] = [];
  readonly trace: string[] = [];
  readonly counts: Counts = { events: 0, calls: 0, requests: 0, faults: 0, deaths: 0, stops: 0 };
  readonly timeline = new Timeline();
  readonly stage: Stage;
  readonly tape: Tape;
  readonly apis: readonly ModelApi[];
  readonly #application: Application;
  readonly #people: People;
  readonly #replicas: Replica[] = [];
  readonly #settings: Settings;
  readonly #rates: {
    readonly database: number;
    readonly api: number;
    readonly replica: number;
    readonly decisions: number;
  };
  #writesLeft: number;
  #replicasLeft = 6;
  #isCalm = false;
  #isOver = false;

  constructor(stage: Stage, circumstances: Circumstances, tape: Tape) {
    this.stage = stage;
    this.tape = tape;
    this.#settings = {
      unknownOutcome: circumstances.unknownOutcome,
      leaseMs: tape.pick([30_000, 2_000, 6_000]),
      quietPeriodMs: tape.pick([0, 1_000]),
      concurrency: 1 + tape.below(4),
      apiTimeoutMs: tape.pick([10_000, 3_000]),
    };
    this.#rates = {
      database: tape.pick([0, 0.03, 0.15]),
      api: tape.pick([0, 0.2, 0.6]),
      replica: tape.pick([0, 0.5, 2]),
      decisions: tape.pick([0, 0.4, 1]),
    };
    const habits = {
      honoursKeys: circumstances.honoursKeys,
      echoes: tape.chance(0.5),
      timeoutMs: this.#settings.apiTimeoutMs,
      // To believe a lookup that finds nobody takes an API that is done some time: after the timeout, as docs/guarantees.md has it.
      appliesWithinMs:
        circumstances.unknownOutcome === "lookup"
          ? this.#settings.apiTimeoutMs
          : Number.POSITIVE_INFINITY,
      appliesPoison: tape.chance(0.3),
    };
    this.apis = [null, OTHER_CONFIG].map((configId) => new ModelApi(this, configId, habits));
    this.#application = new Application(this, {
      careless: tape.pick([0, 0.5, 1]),
      poisoning: tape.pick([0, 0, 0.5]),
      elsewhere: tape.pick([0, 0, 0.5]),
    });
    this.#people = new People(this, this.#application, this.#settings);
    this.#writesLeft = 2 + tape.below(8);
  }

  now(): number {
    return this.timeline.now;
  }

  apiOf(configId: string | null): ModelApi {
    const api = this.apis.find((known) => known.configId === configId);
    if (api === undefined) throw new Error(`there is no API ${configId}`);
    return api;
  }

  note(event: string): void {
    this.trace.push(`${(this.timeline.now / 1_000).toFixed(3)} ${event}`);
  }

  surprise(what: string): void {
    this.note(what);
    this.findings.push(`surprise: ${what}`);
  }

  left(): void {
    if (!this.#isOver) this.counts.deaths += 1;
  }

  ring(from: Replica): void {
    for (const replica of this.#replicas)
      if (replica !== from && this.tape.chance(0.5)) replica.wake();
  }

  async play(): Promise<void> {
    for (let count = 1 + this.tape.below(3); count > 0; count -= 1) await this.#startReplica();
    await this.#application.write(false);
    while (!this.tape.isUsedUp && this.findings.length === 0) await this.#step();
    await this.#calmDown();
    await this.#rest();
    if (this.findings.length > 0) return;
    let accounts = await this.#judge();

    // People look at what was set aside; nothing stands in the way of any account now. A child waits for its parent, and so may be
    // found to be in need of help only then.
    const isWaiting = ({ state }: JudgedAccount) => state === "parked" || state === "blocked";
    for (let round = 0; round < HELP_MAX && accounts.some(isWaiting); round += 1) {
      if (this.findings.length > 0) return;
      await this.#people.help(accounts);
      for (const replica of this.#replicas) if (replica.isAlive) replica.wake();
      await this.#rest();
      accounts = await this.#judge();
    }
    for (const { code, state, errorClass } of accounts.filter(isWaiting))
      this.findings.push(`I9: ${code} is still ${state} (${errorClass}) after somebody helped`);
  }

  async close(): Promise<void> {
    this.#isOver = true;
    for (const replica of this.#replicas) replica.kill();
    if (this.#application.isOpen) await this.stage.application.script("rollback");
    await turn();
    this.counts.requests = this.#requests.length;
  }

  async #step(): Promise<void> {
    await turn();
    this.counts.events += 1;
    await this.tape.pickWeighted(this.#possible()).happen();
  }

  /** In this order: what the tape's zeros choose moves the history towards its rest. */
  #possible(): Happening[] {
    const running = this.#replicas.filter(({ isRunning }) => isRunning);
    const happenings: Happening[] = [];
    const can = (weight: number, happen: () => unknown) => {
      if (weight > 0) happenings.push({ weight, happen: async () => void (await happen()) });
    };

    for (const replica of running) {
      const [answer] = replica.inbox;
      if (answer !== undefined) {
        can(8, () => {
          replica.inbox.shift();
          answer();
        });
      }
    }
    for (const replica of this.#replicas.filter(({ isAlive }) => isAlive)) {
      for (const call of replica.calls) {
        // A process that is stopped cannot lead a transaction; what was sent is carried out all the same.
        if (!call.isTransaction || (!replica.isStopped && replica.inbox.length === 0))
          can(replica.isStopped ? 1 : 8, () => this.#perform(replica, call));
      }
    }
    for (const api of this.apis) {
      for (const request of api.open)
        can(1.5, () => api.step(request, this.#isCalm ? 0 : this.#rates.api));
      for (const request of api.orphans)
        can(1, () => api.settleOrphan(request, this.#isCalm || this.tape.chance(0.5)));
    }

    const timer = this.timeline.next(
      (owner) => !(owner instanceof Replica) || (owner.isAlive && !owner.isStopped),
    );
    if (timer !== null) {
      const isBusy = happenings.length > 0;
      // Time passes slowly while there is something to do, but it does pass: that is how answers come late.
      can(timer.at <= this.now() ? 6 : isBusy ? 2 : 10, () => this.timeline.fire(timer));
    }
    if (this.#isCalm) return happenings;

    if (this.#application.isOpen) can(2, () => this.#application.finish());
    else if (this.#writesLeft > 0) {
      can(4, async () => {
        this.#writesLeft -= 1;
        await this.#application.write(true);
      });
      can(0.4, () => this.#people.ask());
      can(0.2, () => this.#people.retryBlindly());
      can(this.#rates.decisions, () => this.#people.decide());
    }
    for (const replica of running) {
      can(0.25, () => replica.wake());
      can(0.1, () => void replica.keepHouse());
      can(this.#rates.replica * 0.25, () => this.stop(replica));
      can(this.#rates.replica * 0.25, () => replica.kill());
      if (!replica.isDraining)
        can(this.#rates.replica * 0.1, () => replica.drain(this.tape.pick([20_000, 500])));
    }
    for (const gone of this.#replicas.filter(({ isRunning, hasLock }) => hasLock && !isRunning))
      can(1, () => gone.loseLock());
    for (const replica of running) {
      if (!replica.hasLock) can(1, () => replica.announce());
      // A backend that is terminated; the process lives on.
      else can(this.#rates.database * 0.5, () => replica.loseLock());
    }
    if (this.#replicas.some(({ hasLock }) => !hasLock))
      for (const replica of running) can(0.4, () => void replica.lookForTheDead());
    const alive = this.#replicas.filter(({ isAlive }) => isAlive).length;
    if (alive === 0 || (alive < 3 && this.#replicasLeft > 0))
      can(alive === 0 ? 8 : 0.3 + this.#rates.replica, () => this.#startReplica());
    return happenings;
  }

  async #perform(replica: Replica, call: Call): Promise<void> {
    const fault = this.#isCalm ? NO_FAULT : this.#drawFault(call);
    if (fault.kind !== "none") this.counts.faults += 1;
    this.counts.calls += 1;
    this.timeline.now += 1 + this.tape.below(4);
    replica.calls.delete(call);
    const what = await call.perform(fault);
    this.note(`${replica.name}: ${what}${fault.kind === "none" ? "" : ` (${fault.kind})`}`);
  }

  #drawFault(call: Call): Fault {
    const { tape } = this;
    if (!tape.chance(this.#rates.database)) return NO_FAULT;
    const canDie = this.#rates.replica > 0 && this.#replicasLeft > 0;
    const kind = tape.pick(FAULTS);
    const statement = 1 + tape.below(5);
    switch (kind) {
      case "killed within":
      case "killed after":
        if (!canDie) return NO_FAULT;
        return kind === "killed after" ? { kind } : { kind, statement };
      case "stopped after":
        return this.#rates.replica > 0 ? { kind } : NO_FAULT;
      case "answer lost":
        return { kind, error: outage(tape) };
      default:
        return call.isTransaction && kind === "within"
          ? { kind: "within", statement, error: trouble(tape) }
          : { kind: "before", error: trouble(tape) };
    }
  }

  /** The moments between two steps of a sync are short, and the ones that matter. */
  readonly atCommit: Gated["atCommit"] = (statements) => {
    const matters = statements.includes("journal_sends") || statements.includes("settle_accounts");
    if (this.#isCalm || !matters || !this.tape.chance(this.#rates.replica * 0.06)) return "lives";
    return this.tape.pick(["stopped after", "killed after"]);
  };

  async #startReplica(): Promise<void> {
    this.#replicasLeft -= 1;
    const replica = new Replica(this, this.#replicas.length + 1, this.#settings);
    this.#replicas.push(replica);
    this.note(`${replica.name} starts`);
    await replica.announce();
  }

  stop(replica: Replica): void {
    this.counts.stops += 1;
    replica.stop();
    const forMs = this.tape.pick([1_000, this.#settings.leaseMs * 1.2, 8_000]);
    this.timeline.after(this, forMs, () => replica.goOn());
  }

  async #calmDown(): Promise<void> {
    this.tape.end();
    this.#isCalm = true;
    this.note("the faults stop");
    await turn();
    if (this.#application.isOpen) await this.#application.finish();
    for (const replica of this.#replicas.filter(({ isStopped }) => isStopped)) replica.goOn();
    if (!this.#replicas.some(({ isAlive, isDraining }) => isAlive && !isDraining))
      await this.#startReplica();
  }

  async #rest(): Promise<void> {
    const deadline = this.now() + CALM_MAX_MS;
    let askedAt = Number.NEGATIVE_INFINITY;
    for (let events = 0; events < CALM_MAX_EVENTS && this.now() < deadline; events += 1) {
      if (this.findings.length > 0) return;
      await turn();
      const isQuiet =
        this.apis.every(({ isIdle }) => isIdle) &&
        this.#replicas.every(({ calls, inbox }) => calls.size + inbox.length === 0);
      if (isQuiet && this.now() - askedAt >= 500) {
        askedAt = this.now();
        if (await isAtRest(this.stage.judge, this.now())) return;
      }
      await this.#step();
    }
    this.findings.push(
      `I1: not at rest ${Math.round((CALM_MAX_MS - (deadline - this.now())) / 1_000)} s after the faults stopped`,
    );
  }

  async #judge(): Promise<JudgedAccount[]> {
    const accounts = await readAccounts(this.stage.judge);
    const captured = await this.stage.judge.rows<{
      actor: string;
      id: string | null;
      count: number;
    }>(
      "select actor, account_id as id, count(*)::int as count from simulation.captured group by actor, account_id",
    );
    const ofApplication = new Map(
      captured.filter(({ actor }) => actor !== "replica").map(({ id, count }) => [id, count]),
    );
    const echoes = captured.filter(({ actor }) => actor === "replica").length;
    const allowances = new Map(
      accounts.map(({ code }) => [
        code,
        (this.#people.asked.get(code) ?? 0) +
          (ofApplication.get(null) ?? 0) +
          this.#retriesOf(code),
      ]),
    );
    this.findings.push(
      ...judge(accounts, ofApplication, echoes, this.apis, {
        allowances,
        someoneLeft: this.counts.deaths + this.counts.stops > 0,
        mayHaveTwins: this.#mayHaveTwin,
        isElsewhere: (code) => this.#application.elsewhere.has(code),
        forgotten: (code) => this.#people.forgotten.get(code) ?? 0,
      }),
    );
    return accounts;
  }

  /** At an API that knows no keys: where somebody chose to send again without looking, for this account or for all. */
  readonly #mayHaveTwin = (code: string): boolean =>
    this.apis.some(({ habits }) => !habits.honoursKeys) &&
    (this.#settings.unknownOutcome === "resend" || this.#people.sentBlindly.has(code));

  /** Requests that may be followed by another one for the same change: not taken, answered in part, or nobody was there to hear it. */
  #retriesOf(code: string): number {
    return this.#requests.filter(
      (request) => request.code === code && (request.isIncomplete || mayBeUnheard(request)),
    ).length;
  }

  get #requests() {
    return this.apis.flatMap(({ requests }) => requests);
  }
}

interface Happening {
  readonly weight: number;
  readonly happen: () => Promise<void>;
}

const FAULTS = [
  "before",
  "answer lost",
  "within",
  "killed within",
  "killed after",
  "stopped after",
] as const;
const NO_FAULT: Fault = { kind: "none" };

function outage(tape: Tape): Error {
  return tape.pick([
    () => ofTheHistory("Connection terminated unexpectedly"),
    () => ofTheHistory("terminating connection due to administrator command", "57P01"),
    () => ofTheHistory("read ECONNRESET", "ECONNRESET"),
  ])();
}

/** An outage, or somebody in the way. */
function trouble(tape: Tape): Error {
  return tape.chance(0.3) ? ofTheHistory("deadlock detected", "40P01") : outage(tape);
}

function ofTheHistory(message: string, code?: string): Error {
  return Object.assign(
    new Error(message),
    { isOfTheHistory: true },
    code === undefined ? {} : { code },
  );
}

async function turn(): Promise<void> {
  for (let turns = 0; turns < TURNS; turns += 1)
    await new Promise((resolve) => setImmediate(resolve));
}
