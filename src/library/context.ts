/** What the functions of the library share. Types only. */
import type { Language } from "../customer-command/messages.ts";
import type { Observe } from "../ops/observe.ts";
import type { Wiring } from "../wiring.ts";
import type { Calls } from "./calls.ts";
import type { Prepare } from "./prepare.ts";

export interface LibraryContext {
  readonly wiring: Wiring;
  readonly calls: Calls;
  readonly observe: Pick<Observe, "info">;
  readonly prepare: Prepare;
  /** Of the messages about a customer's data. */
  readonly language: Language;
  /** `updated_by`, of the user that a call names. */
  readonly userOf: (userId: string | null | undefined) => string;
}
