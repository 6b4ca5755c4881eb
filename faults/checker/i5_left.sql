-- I5: outboxes are empty and nothing is parked, unless explained. Each row of a statement is a violation.

SELECT format('%s: outbox row %s (%s, key %s) of %s was not sent', service, event_id, topic, key, created_at)
FROM written
WHERE sent_at IS NULL AND dead_reason IS NULL AND dropped_at IS NULL
      AND event_id::text NOT IN (SELECT event_id FROM explained);

SELECT format('%s: outbox row %s (%s, key %s) is dead: %s', service, event_id, topic, key, dead_reason)
FROM written
WHERE dead_reason IS NOT NULL AND sent_at IS NULL AND dropped_at IS NULL
      AND event_id::text NOT IN (SELECT event_id FROM explained);

SELECT format('%s: event %s of %s/%s/%s (key %s) is %s after %s attempts: %s', service, event_id, topic,
              kafka_partition, kafka_offset, key, state, attempts, reason)
FROM aside
WHERE state IN ('WAITING', 'HALTED', 'DEAD') AND event_id::text NOT IN (SELECT event_id FROM explained)
      -- A message that could not be decoded is identified by topic, partition and offset.
      AND NOT EXISTS (SELECT FROM said WHERE said.topic = aside.topic AND said.kafka_partition = aside.kafka_partition
                      AND said.kafka_offset = aside.kafka_offset
                      AND said.event_id::text IN (SELECT event_id FROM explained));

-- Each dead letter belongs to a parked event, to a dropped one, or to one that was handled in the end.
SELECT format('%s/%s/%s: the dead letter of event %s (%s) belongs to nothing that is parked or was handled', topic,
              kafka_partition, kafka_offset, event_id, headers ->> 'dlq_group')
FROM said
WHERE topic LIKE '%.dlq' AND coalesce(event_id::text, '') NOT IN (SELECT event_id FROM explained)
      AND NOT EXISTS (SELECT FROM heard WHERE heard.consumer = said.headers ->> 'dlq_group'
                      AND heard.event_id = said.event_id)
      AND NOT EXISTS (SELECT FROM aside WHERE consumer = said.headers ->> 'dlq_group'
                      AND aside.topic = said.headers ->> 'dlq_topic'
                      AND kafka_partition::text = said.headers ->> 'dlq_partition'
                      AND aside.kafka_offset::text = said.headers ->> 'dlq_offset');
