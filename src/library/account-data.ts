/**
 * What callers give: an account with its relations, as an ORM loads it. Types only; account-shape.ts checks what is given at run time.
 *
 * A field that is left out is sent as missing, not filled in from the tables. Only these are read from the tables: external ids, what
 * decides the order of rows, and the names that a relation may not have loaded (account type, billing method, external ids of the parent
 * and of banks).
 */

/** A primary key of any type; it becomes text. */
type Id = string | number | bigint;
/** The driver returns `numeric` as text. */
type Amount = number | string;
/** `YYYY-MM-DD`, a timestamp that begins with it, or the local midnight that the driver returns for a `date`. */
type Day = string | Date;

export interface AccountData {
  readonly id: Id;
  readonly account_no?: string | null;
  readonly name?: string | null;
  readonly phone_no?: string | null;
  readonly email?: string | null;
  /** Looked up when `account_type` is absent. */
  readonly account_type_id?: Id | null;
  readonly account_type?: { readonly name?: string | null } | null;
  readonly parentId?: Id | null;
  /** Its external id is looked up when it is absent. */
  readonly parent?: { readonly id?: Id | null; readonly uuid_be?: string | number | null } | null;
  /** Default true. */
  readonly is_active?: boolean | null;
  readonly no_ktp?: string | null;
  readonly no_npwp?: string | null;
  /**
   * Used where the row has no external id: it is written to the row, unless another account has it, and the sync is an update. A row that
   * has one keeps its own.
   */
  readonly uuid_be?: string | number | null;
  readonly branch_uuid_be?: string | number | null;
  readonly package_tiers?: readonly PackageTierData[] | null;
  readonly pics?: readonly PicData[] | null;
  readonly account_pic?: readonly PicData[] | null;
  readonly addresses?: readonly AddressData[] | null;
  readonly account_address?: readonly AddressData[] | null;
  readonly account_bank?: readonly BankAccountData[] | null;
}

export interface PackageTierData {
  readonly id: Id;
  readonly min_value?: Amount | null;
  readonly max_value?: Amount | null;
  readonly amount?: Amount | null;
  readonly start_date?: Day | null;
  readonly end_date?: Day | null;
  readonly percentage?: boolean | null;
  readonly is_active?: boolean | null;
  /** That of the stored tier is used when it is absent. */
  readonly billing_method?: { readonly method?: string | null } | null;
  readonly uuid_be?: string | number | null;
}

export interface PicData {
  readonly id: Id;
  readonly name?: string | null;
  readonly phone_no?: string | null;
  readonly email?: string | null;
  readonly no_ktp?: string | null;
  readonly no_npwp?: string | null;
  readonly username?: string | null;
  readonly is_active?: boolean | null;
  readonly created_at?: Day | null;
  readonly uuid_be?: string | number | null;
}

export interface AddressData {
  readonly id?: Id;
  readonly address1?: string | null;
  readonly address2?: string | null;
  readonly sub_district?: string | null;
  readonly city?: string | null;
  readonly province?: string | null;
  readonly country?: string | null;
  readonly postalcode?: string | null;
  readonly is_primary?: boolean | null;
  readonly is_active?: boolean | null;
  readonly created_at?: Day | null;
}

export interface BankAccountData {
  readonly id?: Id;
  readonly bank_id?: Id | null;
  /** Looked up when it is absent. */
  readonly bank?: { readonly uuid_be?: string | number | null } | null;
  readonly bank_account_no?: string | null;
  readonly bank_account_holder_name?: string | null;
  readonly bank_account_holder_firstname?: string | null;
  readonly bank_account_holder_lastname?: string | null;
  readonly is_active?: boolean | null;
  readonly created_at?: Day | null;
}
