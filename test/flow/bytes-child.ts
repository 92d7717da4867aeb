// A consumer of large messages in a process with little memory: node bytes-child.ts <json>. Says how much it held.
import { wire } from '../consumer/wiring.ts'

const { url, queue, count, concurrency } = JSON.parse(process.argv[2]!)
const { consumer, told } = wire(url, { relay: false, max: concurrency + 3 })
let most = 0
let seen = 0
const done = Promise.withResolvers<void>()
const small = consumer(queue, { concurrency, batchSize: 50 }).otherwise((delivery) => {
  most = Math.max(most, process.memoryUsage().rss)
  if ((delivery.payload as { text: string }).text.length > 0) seen += 1
  if (seen === count) done.resolve()
})
await small.start()
await done.promise
await small.stop()
console.log(JSON.stringify({ seen, completed: told('completed').length, mostMb: Math.round(most / 2 ** 20) }))
process.exit(0)
