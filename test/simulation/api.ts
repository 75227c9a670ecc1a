/**
 * A customer API of the simulation: it keeps customers, may honour keys, and each of its requests meets a fate that the history draws.
 * What it answers goes through production's reading of answers. There are two of them, which give out the same ids: what is sent to the
 * wrong one changes the customer of another account.
 */
import { readAnswer } from "../../src/customer-api/answer.ts";
import type {
  ApiFailure,
  ApiRequest,
  ApiResult,
  CustomerApi,
  LookupRequest,
  LookupResult,
} from "../../src/customer-api/customer-api.ts";
import { readLookup } from "../../src/customer-api/lookup.ts";
import type { CustomerCommand } from "../../src/customer-command/command.ts";
import { APPLIED, FAILURES, LOOKING_UP, NOT_APPLIED_YET, POISON } from "./fates.ts";
import type { Tape } from "./tape.ts";

export interface ApiHabits {
  /** The same key again gets the answer of the first time, and changes nothing. */
  readonly honoursKeys: boolean;
  /** Items of an answer say which they are, and come in any order; else they come bare and in the order they were sent. */
  readonly echoes: boolean;
  /** Nobody waits for an answer longer than this. */
  readonly timeoutMs: number;
  /** What it has not applied by then, it never will. */
  readonly appliesWithinMs: number;
  /** A poisoned command is applied, and fails when it is answered. */
  readonly appliesPoison: boolean;
}

export interface Customer {
  readonly id: string;
  readonly code: string;
  command: CustomerCommand;
  /** The request that was applied last. */
  last: ModelRequest;
  /** What stands there now, as a lookup lists it. */
  listed: object;
}

/** One request from its begin to its end, as the network saw it. */
export interface ModelRequest {
  readonly number: number;
  readonly code: string;
  readonly operation: ApiRequest["operation"] | "lookup";
  readonly idempotencyKey: string;
  readonly externalId: string | null;
  readonly command: CustomerCommand;
  readonly sender: Sender;
  readonly beganAt: number;
  /** null while it is under way. */
  endedAt: number | null;
  /** Since when its sender has been stopped: what is on the wire then, nobody can take back. */
  stoppedAt: number | null;
  applied: object | null;
  /** Answered without the sections whose ids are wanted. */
  isIncomplete: boolean;
  /** Nobody will answer it. */
  hangs: boolean;
  /** What the sender heard; null while it has heard nothing. */
  heard: ApiResult | LookupResult | null;
  readonly conclude: (result: ApiResult | LookupResult) => void;
}

export interface Sender {
  readonly name: string;
  readonly isAlive: boolean;
  /** Hands an answer over, at once or when it can be heard. */
  deliver(answer: () => void): void;
  after(ms: number, call: () => void): () => void;
}

interface World {
  readonly tape: Tape;
  now(): number;
  note(event: string): void;
}

export class ModelApi {
  /** null for the one of the environment. */
  readonly configId: string | null;
  readonly habits: ApiHabits;
  readonly customers = new Map<string, Customer>();
  readonly requests: ModelRequest[] = [];
  /** Every id that was given out, and the row's own name it was given out for. */
  readonly given = new Map<string, string>();
  /** Account numbers of which it refused a command. */
  readonly refused = new Set<string>();
  /** Customers and rows that a command for another account, or another row, has changed. */
  readonly overwritten: string[] = [];
  readonly #world: World;
  readonly #answers = new Map<string, object>();
  /** Left by their sender, and not applied yet. */
  readonly #orphans = new Set<ModelRequest>();
  readonly #open = new Set<ModelRequest>();

  constructor(world: World, configId: string | null, habits: ApiHabits) {
    this.#world = world;
    this.configId = configId;
    this.habits = habits;
  }

  get open(): readonly ModelRequest[] {
    return [...this.#open].filter(({ hangs }) => !hangs);
  }

  get orphans(): readonly ModelRequest[] {
    return [...this.#orphans];
  }

  get isIdle(): boolean {
    return this.#open.size === 0 && this.#orphans.size === 0;
  }

  /** A request for this account may yet be applied. */
  mayYetApply(code: string): boolean {
    return [...this.#open, ...this.#orphans].some((request) => request.code === code);
  }

  /** The API as one process sees it. */
  as(sender: Sender): Pick<CustomerApi, "send" | "lookUp"> {
    return {
      send: (_connection, request) => this.#receive<ApiResult>(sender, request),
      lookUp: (_connection, request) =>
        this.#receive<LookupResult>(sender, { ...request, operation: "lookup", externalId: null }),
    };
  }

  #receive<Result extends ApiResult | LookupResult>(
    sender: Sender,
    request: ApiRequest | (LookupRequest & { operation: "lookup"; externalId: null }),
  ): Promise<Result> {
    const { promise, resolve } = Promise.withResolvers<Result>();
    if (request.signal.aborted || !request.mayBegin()) {
      resolve(
        failed({ errorClass: "network", delivery: "not_sent", message: "given up" }) as Result,
      );
      return promise;
    }
    const command = JSON.parse(request.body ?? "{}") as CustomerCommand;
    const giveUp = (message: string) =>
      this.#fail(received, { errorClass: "timeout", delivery: "unknown", message });
    const callOff = sender.after(this.habits.timeoutMs, () => giveUp("no answer in time"));
    const received: ModelRequest = {
      number: this.requests.length + 1,
      code: command.branch.code,
      operation: request.operation,
      idempotencyKey: request.idempotencyKey,
      externalId: request.externalId,
      command,
      sender,
      beganAt: this.#world.now(),
      endedAt: null,
      stoppedAt: null,
      applied: null,
      isIncomplete: false,
      hangs: false,
      heard: null,
      conclude: (result) => {
        if (received.endedAt !== null) return;
        callOff();
        this.#end(received);
        sender.deliver(() => {
          received.heard ??= result;
          resolve(result as Result);
        });
      },
    };
    request.signal.addEventListener("abort", () => giveUp("given up on our side"), { once: true });
    this.requests.push(received);
    this.#open.add(received);
    this.#world.note(`${sender.name} sends ${nameOf(received)}${this.#place}`);
    return promise;
  }

  /** The one thing that happens next to a request that is under way. */
  step(request: ModelRequest, faultRate: number): void {
    const { tape } = this.#world;
    if (!tape.chance(faultRate)) {
      if (isPoisoned(request)) this.#choke(request);
      else this.#answer(request, { complete: true });
      return;
    }
    const fate =
      request.operation === "lookup"
        ? tape.pick(LOOKING_UP)
        : tape.pick(request.applied === null ? NOT_APPLIED_YET : APPLIED);
    this.#world.note(`${nameOf(request)}: ${fate}`);
    switch (fate) {
      case "applied, no answer yet":
        this.#apply(request);
        break;
      case "hangs":
        request.hangs = true;
        break;
      case "incomplete answer":
        this.#answer(request, { complete: false });
        break;
      default:
        if (fate === "422") this.refused.add(request.code);
        this.#fail(request, { ...FAILURES[fate], ...this.#retryAfter(fate) });
    }
  }

  #choke(request: ModelRequest): void {
    if (this.habits.appliesPoison && request.applied === null) this.#apply(request);
    this.#world.note(`${nameOf(request)}: 500, as always`);
    this.#fail(request, FAILURES["500"]);
    // It has been answered: nothing is under way any more.
    this.#orphans.delete(request);
  }

  /** The sender is stopped (SIGSTOP): its requests stay on the wire. */
  stop(sender: Sender): void {
    for (const request of this.#open)
      if (request.sender === sender) request.stoppedAt ??= this.#world.now();
  }

  /** The sender is gone; what it sent may still be on its way. */
  abandon(sender: Sender): void {
    for (const request of this.#open) if (request.sender === sender) this.#end(request);
  }

  /** What was left on the way comes in after all, or never. */
  settleOrphan(request: ModelRequest, comesIn: boolean): void {
    this.#orphans.delete(request);
    const customer = [...this.customers.values()].find(({ id }) => id === request.externalId);
    // One that changes a customer comes before the next one, or not at all: no sender could protect against that.
    const isOvertaken = customer !== undefined && customer.last.number > request.number;
    const isTooLate = this.#world.now() - request.beganAt > this.habits.appliesWithinMs;
    if (!comesIn || isOvertaken || isTooLate) return;
    this.#world.note(`late: ${nameOf(request)}`);
    this.#apply(request);
  }

  #end(request: ModelRequest): void {
    request.endedAt = this.#world.now();
    this.#open.delete(request);
    if (request.applied === null && request.operation !== "lookup") this.#orphans.add(request);
  }

  #fail(request: ModelRequest, failure: Partial<ApiFailure>): void {
    request.conclude(failed(failure));
    if (failure.delivery !== "unknown") this.#orphans.delete(request);
  }

  #answer(request: ModelRequest, { complete }: { readonly complete: boolean }): void {
    if (request.operation === "lookup") {
      this.#tellWhoIsThere(request);
      return;
    }
    if (request.applied === null) this.#apply(request);
    if (request.applied === null) {
      this.#fail(request, { errorClass: "rejected", delivery: "not_applied", httpStatus: 404 });
      return;
    }
    request.isIncomplete = !complete;
    const body = complete ? request.applied : { ...request.applied, tier: {}, crew: {} };
    const answer = readAnswer(body);
    if (answer === null) throw new Error("the model's answer was not recognised");
    request.conclude({ kind: "accepted", httpStatus: 200, answer });
  }

  #tellWhoIsThere(request: ModelRequest): void {
    const found = [...this.customers.values()].filter(({ code }) => code === request.code);
    const text = JSON.stringify(found.map(({ listed }) => listed));
    const answer = { status: 200, text, link: null };
    const wanted = { accountNo: request.code, accountId: "", referenceField: null };
    const read = readLookup(answer, wanted);
    if (read === null) throw new Error("the model's list was not recognised");
    request.conclude({ kind: "answered", httpStatus: 200, found: read });
  }

  #apply(request: ModelRequest): void {
    const known = this.habits.honoursKeys ? this.#answers.get(request.idempotencyKey) : undefined;
    request.applied = known ?? this.#change(request);
    if (request.applied !== null) this.#answers.set(request.idempotencyKey, request.applied);
  }

  /** null where there is no such customer. */
  #change(request: ModelRequest): object | null {
    const { command, code } = request;
    if (request.operation === "create") {
      const id = this.#give("customer", code);
      this.customers.set(id, { id, code, command, last: request, listed: {} });
    }
    const customer =
      request.operation === "create"
        ? [...this.customers.values()].at(-1)
        : this.customers.get(request.externalId ?? "");
    if (customer === undefined) return null;
    this.#noteOverwritten(request, customer);
    customer.command = command;
    customer.last = request;

    const tiers = command.tier.map((item) => ({
      ...item,
      id: item.id ?? this.#give("tier", String(item.min_amount)),
    }));
    const crew = command["customer-crew"].map((item) => ({
      ...item,
      id: item.id ?? this.#give("pic", item.name),
    }));
    const branch = { code, id: command.branch.id ?? this.#give("branch", code) };
    customer.listed = {
      customer: { data: { id: customer.id } },
      branch: { data: branch },
      tier: { data: tiers.toReversed() },
      crew: { data: crew.toReversed() },
    };
    if (this.habits.echoes) return customer.listed;
    return {
      customer: { data: { id: customer.id } },
      branch: { data: { id: branch.id } },
      tier: { data: tiers.map(({ id }) => ({ id })) },
      crew: { data: crew.map(({ id }) => ({ id })) },
    };
  }

  #noteOverwritten(request: ModelRequest, customer: Customer): void {
    const { command, code } = request;
    const told = `${nameOf(request)}${this.#place} changed`;
    if (customer.code !== code) this.overwritten.push(`${told} ${customer.id} of ${customer.code}`);
    const items = [
      ...command.tier.map(({ id, min_amount }) => ({ id, name: `tier ${min_amount}` })),
      ...command["customer-crew"].map(({ id, name }) => ({ id, name: `pic ${name}` })),
    ];
    for (const { id, name } of items) {
      const owner = this.given.get(id ?? "");
      if (id !== undefined && owner !== name)
        this.overwritten.push(`${told} ${id} of ${owner}, for ${name}`);
    }
  }

  get #place(): string {
    return this.configId === null ? "" : ` at ${this.configId}`;
  }

  #retryAfter(fate: string): Partial<ApiFailure> {
    const { tape } = this.#world;
    const isGiven = (fate.startsWith("503") || fate === "429") && tape.chance(0.6);
    return isGiven ? { retryAfterMs: 1_000 + tape.below(5_000) } : {};
  }

  #give(kind: string, name: string): string {
    const id = `${kind}-${this.given.size + 1}`;
    this.given.set(id, `${kind} ${name}`);
    return id;
  }
}

function isPoisoned({ operation, command }: ModelRequest): boolean {
  return operation !== "lookup" && command.customer.name === POISON;
}

export function nameOf(request: ModelRequest): string {
  return `${request.operation} #${request.number} of ${request.code}`;
}

function failed(failure: Partial<ApiFailure>): ApiResult {
  return {
    kind: "failed",
    failure: {
      errorClass: "network",
      delivery: "unknown",
      countsAsAttempt: true,
      httpStatus: null,
      message: "a fate of the simulation",
      retryAfterMs: null,
      ...failure,
    },
  };
}
