// The file as invoices: https://archive.ics.uci.edu/dataset/352/online+retail, its lines grouped by InvoiceNo.
import { createReadStream } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { parse } from 'csv-parse'

export interface Line {
  readonly stockCode: string
  readonly description: string
  /** Negative on cancellations. */
  readonly quantity: number
  /** As the file writes it: '2.55'. */
  readonly unitPrice: string
  readonly cents: number
}

export interface Invoice {
  readonly number: string
  /** 'guest' for everybody without a number. */
  readonly customer: string
  readonly placedAt: string
  readonly country: string
  readonly lines: Line[]
  cents: number
}

export async function readInvoices(path: string): Promise<Invoice[]> {
  const file = createReadStream(path)
  const rows = (path.endsWith('.gz') ? file.pipe(createGunzip()) : file).pipe(parse({ columns: true }))
  const invoices = new Map<string, Invoice>()
  file.on('error', (error) => rows.destroy(error))
  for await (const row of rows) add(invoices, row)
  return [...invoices.values()]
}

function add(invoices: Map<string, Invoice>, row: Record<string, string>): void {
  const number = row.InvoiceNo!
  const invoice = invoices.get(number) ?? {
    number,
    customer: row.CustomerID || 'guest',
    placedAt: row.InvoiceDate!,
    country: row.Country!,
    lines: [],
    cents: 0,
  }
  invoices.set(number, invoice)
  const line = lineOf(row)
  invoice.lines.push(line)
  invoice.cents += line.cents
}

function lineOf(row: Record<string, string>): Line {
  const quantity = Number(row.Quantity)
  const unitPrice = row.UnitPrice!
  return {
    stockCode: row.StockCode!,
    description: row.Description!,
    quantity,
    unitPrice,
    cents: quantity * centsOf(unitPrice),
  }
}

/** Exact: '2.55' has no exact binary fraction, 255 cents have. */
function centsOf(price: string): number {
  const [, sign, whole, fraction = ''] =
    /^(-?)(\d+)(?:\.(\d{1,2}))?$/.exec(price) ?? fail(`Cannot read price "${price}": it is no amount in cents`)
  return Number(`${sign}${whole}${fraction.padEnd(2, '0')}`)
}

function fail(sentence: string): never {
  throw new Error(sentence)
}
