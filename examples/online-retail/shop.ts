// What the services of the shop share: one message, two queues. And the tables, each service's own.
import { z } from 'zod'
import { defineMessage, defineTopology } from '../../src/index.ts'

export const InvoiceIssued = defineMessage(
  'invoice.issued',
  z.object({ invoice: z.string(), customer: z.string(), country: z.string(), cents: z.int() }),
  { exchange: 'sales', key: ({ customer }) => customer },
)

export const topology = defineTopology({
  exchanges: { sales: 'topic' },
  queues: {
    ledger: { from: [InvoiceIssued] },
    customers: { from: [InvoiceIssued] },
  },
})

// No ledger entry is unique and totals only ever grow: a message lost or handled twice would show.
export const TABLES = `
  create schema retail;
  create table retail.invoices (number text, customer text, placed_at timestamp, country text);
  create table retail.lines (invoice text, stock_code text, description text, quantity int, unit_price numeric);
  create table retail.ledger (invoice text, customer text, amount numeric, at timestamptz default clock_timestamp());
  create table retail.customers (customer text primary key, invoices int, total numeric);
`
