// One of the processes of limits.exceeded: consumes until its parent lets go of it, and tells of every attempt.
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import { clock } from '../stand/clock.ts'
import { type Attempted, Job, limited } from './limited.ts'

const pool = new pg.Pool({ connectionString: process.argv[2], max: 8 })
const posthaste = new Posthaste({ database: pgDatabase(pool), topology: limited })
posthaste.consumer('jobs', { concurrency: 4, batchSize: 4 }).on(Job, async ({ key }) => {
  const from = clock()
  await sleep(5)
  process.send!({ key: key ?? '', from, to: clock() } satisfies Attempted)
})
process.on('disconnect', () => process.exit(0))
await posthaste.start({ relay: false })
process.send!('ready')
