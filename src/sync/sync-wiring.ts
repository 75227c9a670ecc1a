/** What the sync of one account is wired with. Types only. */
import type { Home, MappedId } from "../account/mapped-ids.ts";
import type { Clock } from "../clock.ts";
import type { ApiConnection, CustomerApi } from "../customer-api/customer-api.ts";
import type { TransformOptions } from "../customer-command/transform.ts";
import type { Observe } from "../ops/observe.ts";
import type { Claim } from "../queue/queue.ts";
import type { RequestSlots } from "../queue/request-slots.ts";
import type { Adoption, OwnedId } from "./adopt.ts";
import type { Conclusion } from "./conclusion.ts";
import type { AddressedSend, Answered, Journaled } from "./journal.ts";
import type { Loaded } from "./load-for-sync.ts";
import type { MappedElsewhere } from "./mapped-elsewhere.ts";
import type { Outcome } from "./outcome.ts";
import type { SyncPolicy } from "./policy.ts";
import type { RateLimit } from "./rate-limit.ts";

/** What takes a signal waits for a database that is away until the signal is aborted; then it rejects with the outage. */
export interface SyncWiring {
  readonly clock: Pick<Clock, "now">;
  readonly load: (accountId: string) => Promise<Loaded>;
  readonly findParentCycle: (accountId: string) => Promise<readonly string[] | null>;
  /** Whether the parent that an account waits for gets its external id without a person. */
  readonly findParentState: (parentId: string) => Promise<ParentState>;
  /** Where to send; an error text when the configuration that was asked for cannot be used. */
  readonly connection: (
    configId: string | null,
  ) => Promise<ApiConnection | { readonly error: string }>;
  readonly api: CustomerApi;
  /** The account that has an external id besides this one; null when there is none. */
  readonly ownerOf: (owned: OwnedId) => Promise<string | null>;
  /** Where an account was sent to last, whose id is not in the mapping; null when it never was. */
  readonly lastHome: (accountId: string) => Promise<Home | null>;
  /** Which of these ids are mapped to other rows. */
  readonly findMappedElsewhere: (
    accountId: string,
    rows: readonly MappedId[],
  ) => Promise<readonly MappedElsewhere[]>;
  /** The namespace of the idempotency keys of creates. */
  readonly installationId: () => Promise<string>;
  /** Waits until the rate limit lets this request go. Resolves false when the signal was aborted before that. */
  readonly waitForTurn: RateLimit["waitForTurn"];
  readonly askedWaitMs: RateLimit["askedWaitMs"];
  readonly slots: Pick<RequestSlots, "admit" | "use">;
  readonly journalSend: (send: AddressedSend, signal: AbortSignal) => Promise<Journaled>;
  /** At once. Where a settling follows, that does it. */
  readonly journalAnswer: (answered: Answered, signal: AbortSignal) => Promise<void>;
  /**
   * Maps what a lookup found to the account, unless another account has that id: then resolves with that account. null when the lease
   * was lost.
   */
  readonly adopt: (
    adoption: Adoption,
    signal: AbortSignal,
  ) => Promise<{ takenBy: string | null } | null>;
  /** Renews the lease. Resolves false when it was lost: then nothing may be asked either. */
  readonly isStillOurs: (claim: Claim, signal: AbortSignal) => Promise<boolean>;
  /** Writes back and settles. Resolves null when the lease was lost. */
  readonly settle: (conclusion: Conclusion, signal: AbortSignal) => Promise<Outcome | null>;
  readonly observe: Pick<Observe, "unknownOutcome" | "validated">;
  readonly mapping: TransformOptions;
  readonly policy: SyncPolicy;
}

export type ParentState = "on its way" | "parked" | "not asked for" | "missing";
