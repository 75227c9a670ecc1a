-- Three invented accounts to try account-sync out with: a head office, a branch below it, and a small shop.
-- Every name, number and address is made up. Repeating this changes nothing.

insert into m_account_type (id, name) values
  ('a0000000-0000-4000-8000-000000000001', 'parent'),
  ('a0000000-0000-4000-8000-000000000002', 'child'),
  ('a0000000-0000-4000-8000-000000000003', 'branch')
on conflict (id) do nothing;

insert into m_bank (id, name, uuid_be) values
  ('b0000000-0000-4000-8000-000000000001', 'Bank Contoh Nusantara', 'ext-bank-001')
on conflict (id) do nothing;

insert into m_account_billing_method (id, method) values
  ('c0000000-0000-4000-8000-000000000001', 'Auto Deduct'),
  ('c0000000-0000-4000-8000-000000000002', 'Post Paid')
on conflict (id) do nothing;

insert into m_account (id, account_no, name, brand_name, phone_no, email, account_type_id, "parentId", no_ktp, no_npwp, created_by) values
  ('11111111-1111-4111-8111-111111111111', 'ACC-0001', 'PT Maju Mundur Sentosa', 'Maju Mundur', '0812-0000-0001',
   'kantor@maju-mundur.example', 'a0000000-0000-4000-8000-000000000001', null,
   '3171000000000001', '00.000.000.1-000.000', 'sample'),
  ('22222222-2222-4222-8222-222222222222', 'ACC-0002', 'Maju Mundur Cabang Bandung', 'Maju Mundur', '0812-0000-0002',
   'bandung@maju-mundur.example', 'a0000000-0000-4000-8000-000000000003', '11111111-1111-4111-8111-111111111111',
   '3273000000000002', '00.000.000.2-000.000', 'sample'),
  ('33333333-3333-4333-8333-333333333333', 'ACC-0003', 'Warung Kopi Senja Kala', null, '+62 813 0000 0003',
   'halo@senja-kala.example', 'a0000000-0000-4000-8000-000000000002', null,
   '3471000000000003', '00.000.000.3-000.000', 'sample')
on conflict (id) do nothing;

insert into m_account_package_tier (id, account_id, billing_method_id, min_value, max_value, amount, start_date, end_date, percentage, created_by) values
  ('d0000000-0000-4000-8000-000000000001', '11111111-1111-4111-8111-111111111111', 'c0000000-0000-4000-8000-000000000001',
   0, 1000000, 2.50, '2026-01-01', '2035-12-31', true, 'sample'),
  ('d0000000-0000-4000-8000-000000000002', '11111111-1111-4111-8111-111111111111', 'c0000000-0000-4000-8000-000000000001',
   1000000.01, 10000000, 1.75, '2026-01-01', '2035-12-31', true, 'sample'),
  ('d0000000-0000-4000-8000-000000000003', '22222222-2222-4222-8222-222222222222', 'c0000000-0000-4000-8000-000000000002',
   0, 5000000, 7500, '2026-01-01', '2035-12-31', false, 'sample'),
  ('d0000000-0000-4000-8000-000000000004', '33333333-3333-4333-8333-333333333333', 'c0000000-0000-4000-8000-000000000002',
   0, 250000, 1000, '2026-01-01', '2035-12-31', false, 'sample')
on conflict (id) do nothing;

insert into m_account_pic (id, account_id, name, phone_no, email, no_ktp, no_npwp, is_owner, username, created_by) values
  ('e0000000-0000-4000-8000-000000000001', '11111111-1111-4111-8111-111111111111', 'Siti Contohwati', '0812-0000-0101',
   'siti@maju-mundur.example', '3171000000000101', '00.000.010.1-000.000', true, 'siti', 'sample'),
  ('e0000000-0000-4000-8000-000000000002', '11111111-1111-4111-8111-111111111111', 'Budi Percobaan', '0812-0000-0102',
   'budi@maju-mundur.example', '3171000000000102', null, false, null, 'sample'),
  ('e0000000-0000-4000-8000-000000000003', '22222222-2222-4222-8222-222222222222', 'Dewi Umpamani', '0812-0000-0103',
   'dewi@maju-mundur.example', '3273000000000103', null, true, 'dewi', 'sample'),
  ('e0000000-0000-4000-8000-000000000004', '33333333-3333-4333-8333-333333333333', 'Joko Misalnya', '0813-0000-0104',
   'joko@senja-kala.example', '3471000000000104', null, true, 'joko', 'sample')
on conflict (id) do nothing;

insert into m_account_address (id, account_id, address1, address2, sub_district, district, city, province, country, postalcode, is_primary, created_by) values
  ('f0000000-0000-4000-8000-000000000001', '11111111-1111-4111-8111-111111111111', 'Gedung Contoh Lantai 9', 'Jl. Khayalan No. 1',
   'Karangan', 'Umpama', 'Jakarta Pusat', 'DKI Jakarta', 'Indonesia', '10000', true, 'sample'),
  ('f0000000-0000-4000-8000-000000000002', '22222222-2222-4222-8222-222222222222', 'Ruko Rekaan Blok B', 'Jl. Angan-Angan No. 22',
   'Sukareka', 'Rekajaya', 'Bandung', 'Jawa Barat', 'Indonesia', '40000', true, 'sample'),
  ('f0000000-0000-4000-8000-000000000003', '33333333-3333-4333-8333-333333333333', 'Rumah No. 3', 'Gang Senja',
   'Misalan', 'Andai', 'Yogyakarta', 'DI Yogyakarta', 'Indonesia', '55000', true, 'sample')
on conflict (id) do nothing;

insert into m_account_bank (id, account_id, bank_id, bank_account_no, bank_account_holder_name, created_by) values
  ('90000000-0000-4000-8000-000000000001', '11111111-1111-4111-8111-111111111111', 'b0000000-0000-4000-8000-000000000001',
   '0000000001', 'Maju Mundur Sentosa', 'sample')
on conflict (id) do nothing;
