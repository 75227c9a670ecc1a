/**
 * An account of the source tables, with everything that is sent along with it.
 *
 * Parsed where it comes in (the load queries, the library's input); plain and readonly from there on. Ids are text, whatever the key type
 * of the table. `externalId` is the row's `uuid_be`; a blank one, which applications write for none, is null.
 */
export interface Account {
  readonly id: string;
  readonly accountNo: string | null;
  readonly name: string | null;
  readonly phoneNo: string | null;
  readonly email: string | null;
  /** `m_account_type.name`; null when the account has no type or the database has no such table. */
  readonly typeName: string | null;
  readonly isActive: boolean;
  readonly ktp: string | null;
  readonly npwp: string | null;
  readonly externalId: string | null;
  readonly branchExternalId: string | null;
  readonly parent: Parent | null;
  readonly tiers: readonly Tier[];
  readonly pics: readonly Pic[];
  readonly addresses: readonly Address[];
  readonly bankAccounts: readonly BankAccount[];
}

export interface Parent {
  readonly id: string;
  readonly externalId: string | null;
}

export interface Tier {
  readonly id: string;
  /** null only where the library was given none; NaN where the database has numeric 'NaN'. */
  readonly minValue: number | null;
  readonly maxValue: number | null;
  readonly amount: number | null;
  /** `YYYY-MM-DD`, as text: a Date would move by a day in another time zone. */
  readonly startDate: string | null;
  readonly endDate: string | null;
  readonly percentage: boolean;
  readonly isActive: boolean;
  /** `m_account_billing_method.method`. */
  readonly billingMethod: string | null;
  readonly externalId: string | null;
}

export interface Pic {
  readonly id: string;
  readonly name: string | null;
  readonly phoneNo: string | null;
  readonly email: string | null;
  readonly ktp: string | null;
  readonly npwp: string | null;
  readonly username: string | null;
  readonly isActive: boolean;
  /** Sortable text (`YYYY-MM-DD HH:MM:SS.ffffff`); null sorts last. */
  readonly createdAt: string | null;
  readonly externalId: string | null;
}

export interface Address {
  readonly id: string;
  readonly address1: string | null;
  readonly address2: string | null;
  readonly subDistrict: string | null;
  readonly city: string | null;
  readonly province: string | null;
  readonly country: string | null;
  readonly postalCode: string | null;
  readonly isPrimary: boolean;
  readonly isActive: boolean;
  readonly createdAt: string | null;
}

export interface BankAccount {
  readonly id: string;
  /** `m_bank.uuid_be`. */
  readonly bankExternalId: string | null;
  readonly accountNumber: string | null;
  readonly holderName: string | null;
  readonly holderFirstname: string | null;
  readonly holderLastname: string | null;
  readonly isActive: boolean;
  readonly createdAt: string | null;
}
