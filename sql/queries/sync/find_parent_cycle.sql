-- The members of the cycle an account's chain of parents runs into, in order; no row when the chain ends.
-- $1 the account's id
with recursive chain as (
  select
    id,
    "parentId" as parent_id,
    array[id::text] as members,
    false as closes
  from public.m_account
  where id = any ($1)
  union all
  select
    parent.id,
    parent."parentId",
    chain.members || parent.id::text,
    parent.id::text = any (chain.members)
  from chain
  join public.m_account parent on parent.id = chain.parent_id
  where not chain.closes and cardinality(chain.members) < 100
)
select members[array_position(members, members[cardinality(members)]):] as "members"
from chain
where closes
limit 1
