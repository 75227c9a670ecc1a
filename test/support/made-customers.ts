/** The customers as the API holds them, for the judge of the fault tests (verdict.ts): what it accepted last, and the ids it gave out. */
import type { SandboxCustomer } from "../../src/local/sandbox-customers.ts";
import type { MadeCustomer } from "./verdict.ts";

/** The customer as the judge sees it. The payload has the same form as `SourceAccount.payload`. */
export function toMadeCustomer(customer: SandboxCustomer): MadeCustomer {
  const { id, code, codes, command, tiers, crew } = customer;
  return {
    id,
    code,
    codes,
    payload: payloadOfCommand(command as SentCommand),
    rows: new Map([...tiers, ...crew].map((row) => [row.id, String(keyOf(row.item))])),
  };
}

function payloadOfCommand(command: SentCommand): unknown {
  const { customer, branch, tier, ...sent } = command;
  const bank = sent["beneficiary-account"];
  const address = ["building", "street", "region", "city", "state", "country", "zip_code"].map(
    (part) => customer.address[part],
  );
  return [
    customer["name"],
    customer["email"],
    customer["msisdn"],
    customer["ktp"],
    customer["npwp"],
    customer["customer_role"],
    customer["parent_id"],
    customer["deduction_active_type"] ?? null,
    // The address is sent twice; a branch that differs makes the payloads differ.
    branch["name"] === customer["name"] &&
    JSON.stringify(branch["address"]) === JSON.stringify(customer.address)
      ? address
      : [branch["name"], branch["address"]],
    bank && [
      bank["firstname"],
      bank["lastname"],
      bank.bank["id"],
      bank["account_number"],
      bank["account_name"],
      bank.customer_status["id"],
    ],
    tier.map((item) => [
      item["min_amount"],
      item["max_amount"],
      item["fee"],
      item["tier_type"],
      item["valid_from"],
      item["valid_to"],
    ]),
    sent["customer-crew"].map((item) => [
      item["name"],
      item["email"],
      item["msisdn"],
      item["ktp"],
      item["npwp"],
      item["username"],
    ]),
  ];
}

type Json = Readonly<Record<string, unknown>>;

interface SentCommand {
  readonly customer: Json & { readonly address: Json };
  readonly branch: Json;
  readonly tier: readonly Json[];
  readonly "customer-crew": readonly Json[];
  readonly "beneficiary-account":
    | (Json & { readonly bank: Json; readonly customer_status: Json })
    | null;
}

function keyOf(item: Json): unknown {
  return item["min_amount"] ?? item["name"];
}
