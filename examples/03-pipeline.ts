// A pipeline: each step publishes the next in its own transaction, so a step and its successor are one.
// upload → transcode → thumbnail → notify; transcoding fails once and is tried again.
import pg from 'pg'
import { z } from 'zod'
import { defineMessage, defineTopology, migrate, Posthaste, pgDatabase } from '../src/index.ts'

const Video = z.object({ video: z.string() })
const Uploaded = defineMessage('video.uploaded', Video)
const Transcoded = defineMessage('video.transcoded', Video)
const Thumbnailed = defineMessage('video.thumbnailed', Video)

const topology = defineTopology({
  queues: {
    transcode: { from: [Uploaded], retry: { maxAttempts: 3, minMs: 20, jitter: 'none' } },
    thumbnail: { from: [Transcoded] },
    notify: { from: [Thumbnailed] },
  },
})

await migrate()
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
await pool.query('create table steps (at serial, video text, step text)')
const posthaste = new Posthaste({ database: pgDatabase(pool), topology })

const done = (tx: pg.PoolClient, video: string, step: string) =>
  tx.query('insert into steps (video, step) values ($1, $2)', [video, step])

posthaste.consumer('transcode').on(Uploaded, async ({ payload, attempt }, { tx, publish }) => {
  await done(tx, payload.video, `transcoded at attempt ${attempt}`)
  await publish(Transcoded.create(payload))
  if (attempt === 1) throw new Error('the encoder crashed') // the row and the message above never existed
})
posthaste.consumer('thumbnail').on(Transcoded, async ({ payload }, { tx, publish }) => {
  await done(tx, payload.video, 'thumbnail made')
  await publish(Thumbnailed.create(payload))
})
posthaste.consumer('notify').on(Thumbnailed, async ({ payload, correlationId, id }, { tx }) => {
  await done(tx, payload.video, correlationId === id ? 'notified' : 'notified, in the conversation of the upload')
})
await posthaste.start()
const notified = posthaste.until('completed', ({ queue }) => queue === 'notify')

const client = await pool.connect()
await client.query('begin')
await done(client, 'cat.mov', 'uploaded')
await posthaste.publish(client, Uploaded.create({ video: 'cat.mov' }))
await client.query('commit')
client.release()

await notified
for (const { step } of (await pool.query('select step from steps order by at')).rows) console.log(step)
await posthaste.stop()
await pool.end()

// Output:
// uploaded
// transcoded at attempt 2
// thumbnail made
// notified, in the conversation of the upload
