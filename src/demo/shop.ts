import { z } from 'zod'
import { defineMessage, defineTopology } from '../index.ts'

/** Each of them has a queue of this name, two workers, and one effect per order. */
export const SERVICES = ['billing', 'inventory', 'notifications'] as const
export type Service = (typeof SERVICES)[number]

// Its key is the article, not the order: a batch is handled in the order of its keys, so that two workers lock the stock in one order.
export const OrderPlaced = defineMessage(
  'order.placed',
  z.object({
    orderId: z.int().positive(),
    customer: z.string(),
    article: z.string(),
    quantity: z.int().positive(),
    totalCents: z.int().positive(),
  }),
  { exchange: 'orders', key: ({ article }) => article },
)

// Workers are killed all the time here, and an unlucky order may be in their hands more often than the usual three times.
const UNLUCKY = 20

export const topology = defineTopology({
  exchanges: { orders: 'topic' },
  queues: {
    billing: { from: [OrderPlaced], maxCrashes: UNLUCKY },
    inventory: { from: [OrderPlaced], maxCrashes: UNLUCKY },
    notifications: { from: [OrderPlaced], maxCrashes: UNLUCKY },
  },
})

/**
 * The shop's own tables. Nothing in them is unique and no check guards the stock: whatever happens twice, or should not
 * happen at all, stays there for the audit to find.
 */
export const TABLES = `
create schema shop;
create table shop.orders (
  id bigint not null,
  customer text not null,
  total_cents bigint not null,
  placed_at timestamptz not null default clock_timestamp()
);
create table shop.order_lines (order_id bigint not null, article text not null, quantity integer not null, cents bigint not null);
create table shop.effects (
  service text not null,
  order_id bigint not null,
  message_id uuid not null,
  outcome text not null,
  at timestamptz not null default clock_timestamp()
);
create table shop.ledger (order_id bigint not null, cents bigint not null, at timestamptz not null default clock_timestamp());
create table shop.stock (article text not null, stocked integer not null, remaining integer not null);
create index on shop.stock (article);
`

const COLOURS = ['amber', 'black', 'blue', 'brown', 'green', 'grey', 'pink', 'red', 'white', 'yellow']
const THINGS = [
  ...['basket', 'bowl', 'candle', 'clock', 'cup', 'frame', 'jar', 'kettle', 'lamp', 'mirror'],
  ...['plate', 'rug', 'scarf', 'shelf', 'spoon', 'stool', 'teapot', 'towel', 'tray', 'vase'],
]

/** What there is too little of: about a third of the orders for it are refused. */
export const ARTICLES: readonly string[] = COLOURS.flatMap((colour) => THINGS.map((thing) => `${colour} ${thing}`))

export const stockOf = (orders: number): number => Math.ceil((orders / ARTICLES.length) * 1.3)
