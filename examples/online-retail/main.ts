// Real orders: one month of a British shop, one transaction per invoice; a ledger and each customer's total must come out equal to the file's.
//   npm run demo:retail -- --file ../shared/data/online-retail-2010-12.csv.gz [--json] [--keep]
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { openSite } from '../../src/demo/site.ts'
import { migrate, Posthaste, pgDatabase } from '../../src/index.ts'
import { type Invoice, readInvoices } from './invoices.ts'
import { InvoiceIssued, TABLES, topology } from './shop.ts'

const { file, json, keep } = parseArgs({
  options: { file: { type: 'string' }, json: { type: 'boolean' }, keep: { type: 'boolean' } },
}).values
if (!file) usage()
const say = (line: string) => (json ? process.stderr : process.stdout).write(`${line}\n`)

const invoices = await readInvoices(file)
say(`${invoices.length} invoices read from ${file}`)

const site = await openSite('posthaste_retail', console.log)
process.once('SIGINT', () => site.close().finally(() => process.exit(130)))

await migrate({ url: site.url })
const pool = new pg.Pool({ connectionString: site.url, max: 20 })
const database = pgDatabase(pool)
await pool.query(TABLES)

const posthaste = new Posthaste({ database, topology })

posthaste.consumer('ledger', { concurrency: 4 }).on(InvoiceIssued, async ({ payload }, { tx }) => {
  await tx.query('insert into retail.ledger (invoice, customer, amount) values ($1, $2, $3::numeric / 100)', [
    payload.invoice,
    payload.customer,
    payload.cents,
  ])
})

posthaste.consumer('customers', { concurrency: 4 }).on(InvoiceIssued, async ({ payload }, { tx }) => {
  await tx.query(
    `insert into retail.customers as c (customer, invoices, total) values ($1, 1, $2::numeric / 100)
     on conflict (customer) do update set invoices = c.invoices + 1, total = c.total + excluded.total`,
    [payload.customer, payload.cents],
  )
})

await posthaste.start()
await Promise.all(shares(invoices, 4).map(sell))
await drained()
await posthaste.stop()

const result = await compare()
await pool.end()
const { lost, duplicates, ledgerTotal, customers, customersMatching } = result
say(`${result.invoices} invoices, ${result.lines} lines, a ledger of ${ledgerTotal.toFixed(2)}`)
say(`${customersMatching} of ${customers} customers' totals are the file's; ${lost} lost, ${duplicates} duplicated`)
if (keep) say(`The database stays at ${site.url}; remove it with ${site.keep()}`)
else await site.close()
if (json) console.log(JSON.stringify({ ...result, databaseUrl: site.url }))
process.exitCode = isEqual() ? 0 : 1

async function sell(some: readonly Invoice[]): Promise<void> {
  for (const invoice of some) {
    await database.transaction(async (tx) => {
      await write(tx, invoice)
      const { number, customer, country, cents } = invoice
      await posthaste.publish(tx, InvoiceIssued.create({ invoice: number, customer, country, cents }))
    })
  }
}

async function write(tx: pg.PoolClient, { number, customer, placedAt, country, lines }: Invoice): Promise<void> {
  await tx.query('insert into retail.invoices values ($1, $2, $3, $4)', [number, customer, placedAt, country])
  await tx.query(
    'insert into retail.lines select $1, * from unnest($2::text[], $3::text[], $4::int[], $5::numeric[])',
    [
      number,
      lines.map(({ stockCode }) => stockCode),
      lines.map(({ description }) => description),
      lines.map(({ quantity }) => quantity),
      lines.map(({ unitPrice }) => unitPrice),
    ],
  )
}

/** Until every message has come to its end. */
async function drained(): Promise<void> {
  const deadline = Date.now() + 120_000
  for (;;) {
    const { queues, exchanges } = await posthaste.audit()
    const moving =
      exchanges.some(({ unrouted }) => unrouted > 0) ||
      queues.some(({ routed, completed, dead }) => routed > completed + dead)
    if (!moving) return
    if (Date.now() > deadline) throw new Error(`Cannot finish "retail": messages are left: ${JSON.stringify(queues)}`)
    await pause(100)
  }
}

async function compare() {
  const { rows } = await pool.query(`
    select
      (select count(*)::int from retail.invoices) as invoices,
      (select count(*)::int from retail.lines) as lines,
      (select coalesce(sum(amount), 0)::float8 from retail.ledger) as "ledgerTotal",
      (select count(*)::int from retail.invoices i where not exists (select from retail.ledger l where l.invoice = i.number)) as lost,
      (select (count(*) - count(distinct invoice))::int from retail.ledger) as duplicates`)
  const totals = await pool.query<{ customer: string; cents: number }>(
    'select customer, (total * 100)::int8::float8 as cents from retail.customers',
  )
  const { invoices, lines, ledgerTotal, lost, duplicates } = rows[0]
  const expected = totalsOf()
  const customersMatching = totals.rows.filter(({ customer, cents }) => expected.get(customer) === cents).length
  return { invoices, lines, ledgerTotal, customers: expected.size, customersMatching, lost, duplicates }
}

function totalsOf(): Map<string, number> {
  const totals = new Map<string, number>()
  for (const { customer, cents } of invoices) totals.set(customer, (totals.get(customer) ?? 0) + cents)
  return totals
}

function isEqual(): boolean {
  const lines = invoices.reduce((sum, invoice) => sum + invoice.lines.length, 0)
  const cents = invoices.reduce((sum, invoice) => sum + invoice.cents, 0)
  const whole = result.invoices === invoices.length && result.lines === lines && result.ledgerTotal === cents / 100
  return whole && customersMatching === customers && lost === 0 && duplicates === 0
}

function shares<Item>(items: readonly Item[], count: number): Item[][] {
  return Array.from({ length: count }, (_, share) => items.filter((_, index) => index % count === share))
}

function usage(): never {
  process.stderr.write('Usage: npm run demo:retail -- --file online-retail-2010-12.csv.gz [--json] [--keep]\n')
  process.exit(2)
}
