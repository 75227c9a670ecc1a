/** An account as the transform is given it: without fault, but for what a test says. */
import type { Account, BankAccount, Pic, Tier } from "../../src/account/account.ts";

export function anAccount(change: Partial<Account>): Account {
  return {
    id: "a1",
    accountNo: "A-1",
    name: "Toko Maju",
    phoneNo: "0812 3456 7890",
    email: "toko@example.id",
    typeName: "parent",
    isActive: true,
    ktp: "3174012345678901",
    npwp: "01.234.567.8-901.234",
    externalId: null,
    branchExternalId: null,
    parent: null,
    tiers: [aTier({})],
    pics: [aPic({})],
    addresses: [
      {
        id: "d1",
        address1: "Gedung A",
        address2: "Jalan Sudirman 1",
        subDistrict: "Setiabudi",
        city: "Jakarta",
        province: "DKI Jakarta",
        country: "Indonesia",
        postalCode: "12920",
        isPrimary: true,
        isActive: true,
        createdAt: null,
      },
    ],
    bankAccounts: [aBankAccount({})],
    ...change,
  };
}

export function aTier(change: Partial<Tier>): Tier {
  return {
    id: "t0",
    minValue: 0,
    maxValue: 1_000,
    amount: 5,
    startDate: "2026-01-01",
    endDate: "2026-12-31",
    percentage: false,
    isActive: true,
    billingMethod: null,
    externalId: null,
    ...change,
  };
}

export function aPic(change: Partial<Pic>): Pic {
  return {
    id: "p1",
    name: "Budi",
    phoneNo: "081311112222",
    email: "budi@example.id",
    ktp: null,
    npwp: null,
    username: null,
    isActive: true,
    createdAt: null,
    externalId: null,
    ...change,
  };
}

export function aBankAccount(change: Partial<BankAccount>): BankAccount {
  return {
    id: "b1",
    bankExternalId: "ext-bank",
    accountNumber: "1234567",
    holderName: "Siti Nur Aini",
    holderFirstname: null,
    holderLastname: null,
    isActive: true,
    createdAt: null,
    ...change,
  };
}
