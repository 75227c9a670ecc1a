/** What the functions of the library share. Types only. */
import type { Language } from "../customer-command/messages.ts";
import type { Parts } from "../parts.ts";
import type { Calls } from "./calls.ts";
import type { Prepare } from "./prepare.ts";

export interface LibraryContext {
  readonly parts: Parts;
  readonly calls: Calls;
  readonly prepare: Prepare;
  /** Of the messages about a customer's data. */
  readonly language: Language;
  /** `updated_by`, of the user that a call names. */
  readonly userOf: (userId: string | null | undefined) => string;
}
