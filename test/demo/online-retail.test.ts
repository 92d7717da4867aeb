import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { describe, expect, inject, test } from 'vitest'
import { ROOT, scratch } from '../support/process.ts'
import { run } from '../support/server.ts'

const INVOICES = `InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,"LANTERN, ""WHITE"" é",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
536365,71053,CANDLE'S HOLDER,3,2010-12-01 08:26:00,0.1,17850.0,United Kingdom
536366,22633,HAND WARMER,1,2010-12-01 08:28:00,1.85,,United Kingdom
C536367,85123A,"LANTERN, ""WHITE"" é",-2,2010-12-01 09:00:00,2.55,17850.0,United Kingdom
536368,22960,,5,2010-12-01 09:01:00,0.0,,EIRE
`

describe('real orders', () => {
  test('come out as the file has them: invoices, lines, cents, cancellations, and guests as one customer', async () => {
    using directory = scratch()
    const file = join(directory.path, 'invoices.csv.gz')
    writeFileSync(file, gzipSync(INVOICES))
    const { code, result, stderr } = await retail(file)
    expect(code, stderr).toBe(0)
    expect(result).toEqual({
      invoices: 4,
      lines: 5,
      ledgerTotal: 12.35,
      customers: 2,
      customersMatching: 2,
      lost: 0,
      duplicates: 0,
      databaseUrl: expect.stringMatching(/^postgres/),
    })
    await expect(run(result.databaseUrl, 'select 1')).rejects.toThrow('does not exist')
  })

  test('with a price that is no amount in cents are refused before anything is written', async () => {
    using directory = scratch()
    const file = join(directory.path, 'invoices.csv')
    writeFileSync(file, INVOICES.replace('2.55', '2.555'))
    const { code, stderr } = await retail(file)
    expect(code).toBe(1)
    expect(stderr).toContain('Cannot read price "2.555"')
  })
})

async function retail(file: string) {
  const env = { ...process.env, DATABASE_URL: inject('server').url }
  const program = join(ROOT, 'examples/online-retail/main.ts')
  const child = spawn(process.execPath, [program, '--file', file, '--json'], { env })
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code, stderr, result: stdout === '' ? undefined : JSON.parse(stdout) }
}
