/** The customer command as a peer builds it: the body that the product sends too, without its checks. Pure. */

export interface AccountData {
  readonly accountNo: string;
  readonly name: string;
  readonly phoneNo: string;
  readonly email: string;
  readonly ktp: string;
  readonly npwp: string;
  readonly role: string;
  readonly uuidBe: string | null;
  readonly branchUuidBe: string | null;
  readonly tiers: readonly TierData[];
  readonly pics: readonly PicData[];
}

interface TierData {
  readonly id: string;
  readonly min: number;
  readonly max: number;
  readonly amount: number;
  readonly from: string;
  readonly to: string;
  readonly percentage: boolean;
  readonly uuidBe: string | null;
}

interface PicData {
  readonly id: string;
  readonly name: string;
  readonly phoneNo: string;
  readonly email: string;
  readonly ktp: string | null;
  readonly npwp: string | null;
  readonly username: string | null;
  readonly uuidBe: string | null;
}

export function toCommand(account: AccountData): object {
  return {
    customer: {
      ...toId(account.uuidBe),
      name: account.name,
      email: account.email,
      msisdn: toMsisdn(account.phoneNo),
      address: ADDRESS,
      customer_role: account.role,
      parent_id: null,
      customer_type: "INDIVIDUAL",
      ktp: account.ktp,
      npwp: account.npwp,
    },
    tier: account.tiers.map((tier) => ({
      ...toId(tier.uuidBe),
      tier_type: tier.percentage ? "percentage" : "nominal",
      tier_category: "discount",
      min_amount: tier.min,
      max_amount: tier.max,
      fee: tier.amount,
      valid_from: `${tier.from}T00:00:00`,
      valid_to: `${tier.to}T23:59:59`,
    })),
    "customer-crew": account.pics.map((pic) => ({
      ...toId(pic.uuidBe),
      ktp: pic.ktp ?? "",
      npwp: pic.npwp ?? "",
      name: pic.name,
      msisdn: toMsisdn(pic.phoneNo),
      email: pic.email,
      username: pic.username ?? pic.name.toLowerCase().replaceAll(/\s/g, ""),
    })),
    "beneficiary-account": null,
    branch: {
      ...toId(account.branchUuidBe),
      name: account.name,
      code: account.accountNo,
      address: ADDRESS,
    },
    ...(account.uuidBe === null
      ? {}
      : { "tier-assignment": { data: account.tiers.flatMap(({ uuidBe }) => toIdList(uuidBe)) } }),
  };
}

const ADDRESS = {
  building: "",
  street: "",
  region: "",
  city: "",
  state: "",
  country: "Indonesia",
  zip_code: "",
};

function toId(id: string | null): { id?: string } {
  return id === null ? {} : { id };
}

function toIdList(id: string | null): { id: string }[] {
  return id === null ? [] : [{ id }];
}

function toMsisdn(phoneNo: string): string {
  return phoneNo.replaceAll(/[\s()-]/g, "").replace(/^0/, "+62");
}
