/** The customer command: the body that is sent to the API, with the API's own keys. */
import type { Home, MappedId, UnmappedId } from "../account/mapped-ids.ts";

export interface CustomerCommand {
  readonly customer: Customer;
  readonly tier: readonly CommandTier[];
  readonly "customer-crew": readonly CommandCrew[];
  readonly "beneficiary-account": BeneficiaryAccount | null;
  readonly branch: Branch;
  readonly "tier-assignment"?: { readonly data: readonly { readonly id: string }[] };
}

export interface Customer {
  readonly id?: string;
  readonly name: string;
  readonly email: string;
  readonly msisdn: string;
  readonly address: CommandAddress;
  readonly customer_role: string;
  readonly parent_id: string | null;
  readonly customer_type: "INDIVIDUAL";
  readonly ktp: string;
  readonly npwp: string;
  readonly deduction_active_type?: "percentage" | "nominal";
}

export interface CommandAddress {
  readonly building: string;
  readonly street: string;
  readonly region: string;
  readonly city: string;
  readonly state: string;
  readonly country: string;
  readonly zip_code: string;
}

export interface CommandTier {
  readonly id?: string;
  readonly tier_type: "percentage" | "nominal";
  readonly tier_category: "discount";
  readonly min_amount?: number;
  readonly max_amount?: number;
  readonly fee?: number;
  readonly valid_from?: string;
  readonly valid_to?: string;
}

export interface CommandCrew {
  readonly id?: string;
  readonly ktp: string;
  readonly npwp: string;
  readonly name: string;
  readonly msisdn: string;
  readonly email: string;
  readonly username: string;
}

export interface BeneficiaryAccount {
  readonly firstname: string;
  readonly lastname: string;
  readonly bank: { readonly id: string };
  readonly account_number: string;
  readonly account_name: string;
  readonly account_type: { readonly id: "1" };
  readonly customer_type: { readonly id: "2" };
  readonly region_code: { readonly id: "31" };
  readonly country_code: { readonly id: "IDN" };
  readonly customer_status: { readonly id: "1" | "2" };
}

export interface Branch {
  readonly id?: string;
  readonly name: string;
  readonly code: string;
  readonly address: CommandAddress;
}

/** Far above the size of any real account. The journal stores the whole command, and a load has to read it back. */
const COMMAND_BYTES_MAX = 1024 * 1024;

/** Why a command is too large to be sent; null when it is not. */
export function sizeProblem(body: string): string | null {
  const bytes = Buffer.byteLength(body);
  if (bytes <= COMMAND_BYTES_MAX) return null;
  return `The command has ${bytes} bytes; at most ${COMMAND_BYTES_MAX} are sent`;
}

/** The local row of each item of a command, in the order sent; stored with the attempt to match the answer. */
export interface SentRows {
  readonly accountId: string;
  /** As they were read before sending: the row's, or the mapped ones where the row has lost them. */
  readonly externalId: string | null;
  readonly branchExternalId: string | null;
  readonly tiers: readonly SentRow[];
  readonly pics: readonly SentRow[];
  /** External ids of the account's inactive rows, which were not sent: the answer may list them all the same. */
  readonly unsentIds?: { readonly tiers: readonly string[]; readonly pics: readonly string[] };
  /** Where it was sent to; absent in what a version without an id mapping has journaled. */
  readonly sentTo?: Home;
  /** Ids that their rows had lost, which are put back with those of the answer. */
  readonly restored?: readonly MappedId[];
  /** Ids that stood in their rows and not, or otherwise, in the mapping, which follows when the API has taken them. */
  readonly unmapped?: readonly UnmappedId[];
  /** Ids of tiers and contact persons that were gone: the API drops what a command leaves out. */
  readonly leftOut?: readonly MappedId[];
}

export interface SentRow {
  readonly id: string;
  /** As it was read before sending: the row's `uuid_be`, or the mapped id where the row has lost it. Write-back compares with it. */
  readonly externalId: string | null;
}

export function hasAllIds(sent: SentRows): boolean {
  return (
    sent.externalId !== null &&
    [...sent.tiers, ...sent.pics].every((row) => row.externalId !== null)
  );
}
