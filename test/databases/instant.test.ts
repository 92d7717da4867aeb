import pg from 'pg'
import { expect, test } from 'vitest'
import { instantOf } from '../../src/database/instant.ts'

const parse = pg.types.getTypeParser(1184, 'text') as (text: string) => Date

test.each([
  '2027-01-31 23:59:59.123456+00',
  '2027-01-31 23:59:59.9999+00',
  '2027-01-31 23:59:59.5-08',
  '2027-01-31 23:59:59+05:30',
  '2027-01-31 23:59:59.25-03:30',
  '1800-01-01 00:00:00+00:53:28',
  '2027-03-01 00:00:00+14',
  '2024-02-29 12:30:45.000001-11',
  '0101-01-01 00:00:00+00',
  '0044-03-15 12:00:00+00',
  '0044-03-15 12:00:00+00 BC',
  '12027-01-31 23:59:59+00',
])('%s is the time that pg takes it for', (text) => {
  expect(instantOf(text)).toEqual(parse(text))
})

test.each(['infinity', '-infinity', '31/01/2027 23:59:59 UTC', 'Sun Jan 31 23:59:59 2027 UTC', '2027-01-31'])(
  '%s is no time as ISO has it',
  (text) => {
    expect(instantOf(text)).toBeUndefined()
  },
)
