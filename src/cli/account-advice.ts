/** What to do about one account in its state: a sentence, and commands that work in this state. Pure. */
import { callOn } from "../call-on.ts";
import type { AccountState } from "../console/api.ts";
import type { Sending } from "../queue/sending.ts";
import { describeSending, isStopped, WAITS_FOR } from "../queue/sending-words.ts";
import { describeChoice, describeChoiceWithoutRepeat } from "../sync/choice.ts";
import type { ErrorClass, Operation } from "../sync/outcome.ts";
import { capitalized } from "./wording.ts";

export interface AccountFacts {
  /** In the form of the source table. */
  readonly id: string;
  /** null: the account is not in the queue. */
  readonly state: AccountState | null;
  readonly errorClass: ErrorClass | null;
  readonly error: string | null;
  /** m_account has a row of it. */
  readonly isThere: boolean;
  /** Changes that are captured and not folded yet. */
  readonly hasChanges: boolean;
  readonly wasSynced: boolean;
  /** What was sent last, where it is not known whether it was applied and newer data wait for that; null: nothing. */
  readonly undecided: Operation | null;
  /** The account whose external id it waits for. */
  readonly parent: ParentFacts | null;
}

export interface ParentFacts {
  readonly id: string;
  readonly state: AccountState | null;
  readonly isThere: boolean;
  readonly hasExternalId: boolean;
}

export interface Advice {
  readonly says: string;
  /** Each can be run as it is, in this order; empty when nothing has to be done, or no command does it. */
  readonly commands: readonly string[];
}

export function adviseOn(facts: AccountFacts, sending: Sending): Advice {
  const { state, hasChanges } = facts;
  switch (state) {
    case null:
      return adviseOnUnknown(facts, sending);
    case "clean":
      return hasChanges ? adviseOnCaptured(facts, sending) : adviseOnClean(facts);
    case "waiting":
      return whenSent(facts, sending, "It is sent by itself when it is due.");
    case "due":
      return whenSent(facts, sending, "It is next in line.");
    case "running":
      return whenSent(facts, sending, "It is being sent.");
    case "retrying":
      return adviseOnRetrying(facts, sending);
    case "parked":
      return adviseOnParked(facts, sending);
    case "blocked":
      return adviseOnBlocked(facts, sending);
    default:
      return state satisfies never;
  }
}

function adviseOnUnknown(facts: AccountFacts, sending: Sending): Advice {
  if (facts.hasChanges) return adviseOnCaptured(facts, sending);
  return facts.isThere
    ? {
        says: "It has not changed since the first migrate, so it is not sent by itself. Send it:",
        commands: [callOn("sync", facts.id)],
      }
    : {
        says: "There is no such account in m_account either: check the id. Ids are those of m_account.id; account-sync knows nothing of account numbers or names.",
        commands: [],
      };
}

function adviseOnCaptured(facts: AccountFacts, sending: Sending): Advice {
  return whenSent(facts, sending, "It changed a moment ago; a daemon takes it in by itself.");
}

function adviseOnClean({ id, isThere, wasSynced }: AccountFacts): Advice {
  if (!isThere) return { says: "It is gone from m_account: nothing is to be sent.", commands: [] };
  return wasSynced
    ? { says: "Nothing has to be done: the API has the data that was captured last.", commands: [] }
    : {
        says: "It was not sent yet, or its ids were forgotten. Send it:",
        commands: [callOn("sync", id)],
      };
}

/** @param otherwise the advice while nothing stops the sending */
function whenSent({ id }: AccountFacts, sending: Sending, otherwise: string): Advice {
  if (!isStopped(sending)) return { says: otherwise, commands: [] };
  const { line, remedy } = describeSending(sending);
  return needsDaemon(sending)
    ? {
        says: `${capitalized(WAITS_FOR[sending.obstacle.by])}, so nothing is sent by itself. Start one, or send this account alone:`,
        commands: ["account-sync start", callOn("sync", id)],
      }
    : { says: remedy === null ? line : `${line} ${remedy}`, commands: [] };
}

/** Whether a daemon has to be started: none runs, or none that claims accounts. */
function needsDaemon(sending: Sending): boolean {
  if (!isStopped(sending)) return false;
  const { by } = sending.obstacle;
  return by === "no_daemon" || by === "draining" || by === "no_answer";
}

function adviseOnRetrying(facts: AccountFacts, sending: Sending): Advice {
  const advice = whenSent(facts, sending, "It is tried again by itself when it is due.");
  if (facts.undecided === null) return advice;
  const choice = describeChoice(facts.id, facts.undecided, "retrying");
  // The commands come last.
  const says = advice.commands.length > 0 ? `${choice} ${advice.says}` : `${advice.says} ${choice}`;
  return { ...advice, says };
}

function adviseOnParked(facts: AccountFacts, sending: Sending): Advice {
  const { id, errorClass, error, isThere, undecided } = facts;
  const retry = callOn("retry", id);
  const thenStart = needsDaemon(sending) ? ["account-sync start"] : [];
  if (!isThere) {
    return {
      says: "It is gone from m_account. To settle the rest of it, put it back into the queue:",
      commands: [retry, ...thenStart],
    };
  }
  if (undecided !== null) {
    // The caution comes first: the same once more can make a second customer.
    return {
      says: `${describeChoiceWithoutRepeat(id, undecided)} The same once more; newer data wait until then:`,
      commands: [retry, ...thenStart],
    };
  }
  return {
    says: error?.includes("`account-sync ")
      ? "Do what its error says; or, where the cause is gone, put it back:"
      : PARKED[errorClass ?? "validation"],
    commands: [
      ...(errorClass === "validation" ? [callOn("preview", id)] : []),
      retry,
      ...thenStart,
    ],
  };
}

const PARKED: Readonly<Record<ErrorClass, string>> = {
  validation:
    "See with the first command what is wrong with its data, and correct it in m_account, or in the table beside it that holds it; a running daemon then sends it by itself. Otherwise put it back:",
  rejected:
    "Correct what the API refuses; a running daemon then tries it by itself. Put it back where the API's side was corrected:",
  unauthorized: "When the credentials are correct, put it back:",
  throttled: "When the API takes requests again, put it back:",
  server: "It used up its tries. When the API works again, put it back:",
  network: "It used up its tries. When the API can be reached again, put it back:",
  timeout: "It used up its tries. When the API answers in time again, put it back:",
  incomplete: "The API did not give all ids. When it does, put it back:",
  // Its outcome has become known since.
  unknown_outcome: "Put it back:",
  database: "Correct what the database refused, then put it back:",
  id_conflict:
    "Find out which id is right, and correct uuid_be of the row that has another one; then put it back:",
};

function adviseOnBlocked(facts: AccountFacts, sending: Sending): Advice {
  const { parent, errorClass } = facts;
  // The parents form a cycle.
  if (errorClass === "validation") {
    return {
      says: "Remove the parent of one of the accounts in m_account; a running daemon then sends them by itself.",
      commands: [],
    };
  }
  if (parent === null || parent.hasExternalId) {
    return whenSent(
      facts,
      sending,
      "Its parent has its external id: it is sent by itself when it is due.",
    );
  }
  if (!parent.isThere) {
    return {
      says: `Its parent ${parent.id} is not in m_account: correct its parent there; a running daemon then sends it by itself.`,
      commands: [],
    };
  }
  switch (parent.state) {
    case null:
    case "clean":
      return {
        says: `Its parent ${parent.id} has no external id and is not in the queue. Send the parent; a running daemon then sends this account by itself:`,
        commands: [callOn("sync", parent.id)],
      };
    case "parked":
    case "blocked":
      return {
        says: `Its parent ${parent.id} is ${parent.state} itself. See what to do about the parent; a running daemon then sends this account by itself:`,
        commands: [callOn("status", parent.id)],
      };
    case "waiting":
    case "due":
    case "running":
    case "retrying":
      return whenSent(
        { ...facts, id: parent.id },
        sending,
        `It is sent by itself after its parent ${parent.id}, which is ${parent.state}.`,
      );
    default:
      return parent.state satisfies never;
  }
}
