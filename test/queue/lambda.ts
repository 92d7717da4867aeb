// A function as serverless platforms run it: drains, says which timers are left, and is not stopped by anybody.
import pg from 'pg'
import { z } from 'zod'
import { defineMessage, defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'

const Order = defineMessage('order.placed', z.object({ n: z.int() }))
const pool = new pg.Pool({ connectionString: process.argv[2], allowExitOnIdle: true, idleTimeoutMillis: 0 })
const posthaste = new Posthaste({ database: pgDatabase(pool), topology: defineTopology({ queues: { lambda: {} } }) })
posthaste.consumer('lambda').on(Order, async () => {})

const drained = await posthaste.queue('lambda').drain({ deadlineMs: 15_000 })
const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
process.stdout.write(JSON.stringify({ ...drained, timers }))
