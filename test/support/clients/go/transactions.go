// Jobs with transactions. Forms of jobs, records and answers: ../jobs.ts.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func begun(job map[string]string, timeout time.Duration) (*kgo.Client, error) {
	return kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		secured(),
		kgo.TransactionalID(job["id"]),
		kgo.TransactionTimeout(timeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(60*time.Second),
	)
}

func sendAll(client *kgo.Client, job map[string]string, round int, verdict string) {
	partitions, _ := strconv.Atoi(job["partitions"])
	for number := 0; number < 2; number++ {
		for partition := 0; partition < partitions; partition++ {
			value := fmt.Sprintf("%s %d %s %d %d", job["id"], round, verdict, partition, number)
			client.Produce(context.Background(), &kgo.Record{Topic: job["topic"], Partition: int32(partition), Value: []byte(value)}, nil)
		}
	}
}

func transact(job map[string]string) (string, error) {
	ctx := context.Background()
	client, err := begun(job, 60*time.Second)
	if err != nil {
		return "", err
	}
	for round, letter := range job["script"] {
		if letter == 't' {
			client.Close()
			if client, err = begun(job, time.Second); err != nil {
				return "", err
			}
		}
		if err := client.BeginTransaction(); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		switch letter {
		case 'c':
			sendAll(client, job, round, "keep")
			if err := client.Flush(ctx); err != nil {
				return "", err
			}
			if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
				return "", fmt.Errorf("round %d: %w", round, err)
			}
		case 'a', 'i', 'e':
			if letter != 'e' {
				sendAll(client, job, round, "drop")
			}
			if letter == 'i' {
				err = client.AbortBufferedRecords(ctx)
			} else {
				err = client.Flush(ctx)
			}
			if err == nil {
				err = client.EndTransaction(ctx, kgo.TryAbort)
			}
			if err != nil {
				return "", fmt.Errorf("round %d: %w", round, err)
			}
		case 'z', 't':
			sendAll(client, job, round, "drop")
			if err := client.Flush(ctx); err != nil {
				return "", err
			}
			newer, err := begun(job, 60*time.Second)
			if err != nil {
				return "", err
			}
			if letter == 'z' {
				if _, _, err := newer.ProducerID(ctx); err != nil {
					return "", err
				}
			} else if err := untilEnded(client, job); err != nil {
				return "", err
			}
			if err := client.EndTransaction(ctx, kgo.TryCommit); err == nil {
				return "", errors.New("a producer that is fenced has committed")
			}
			client.Close()
			client = newer
		}
	}
	client.Close()
	return "", nil
}

// untilEnded sends until the broker refuses it.
func untilEnded(client *kgo.Client, job map[string]string) error {
	deadline := time.Now().Add(200 * time.Second)
	for time.Now().Before(deadline) {
		time.Sleep(200 * time.Millisecond)
		record := &kgo.Record{Topic: job["topic"], Partition: 0, Value: []byte("late drop")}
		if client.ProduceSync(context.Background(), record).FirstErr() != nil {
			return nil
		}
	}
	return errors.New("the broker never ended the transaction")
}

func copyAll(job map[string]string) (string, error) {
	round := 0
	for {
		done, err := copySession(job, &round)
		if done {
			return "", nil
		}
		// Whatever became of the transaction: the next session ends it, and the group's offsets say where to go on.
		fmt.Fprintln(os.Stderr, err)
		time.Sleep(50 * time.Millisecond)
	}
}

func copySession(job map[string]string, round *int) (bool, error) {
	ctx := context.Background()
	count, _ := strconv.Atoi(job["count"])
	drops, _ := strconv.Atoi(job["drops"])
	options := append(consumerOptions(job),
		kgo.TransactionalID(job["id"]),
		kgo.TransactionTimeout(60*time.Second),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(),
		kgo.InstanceID(job["id"]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.SessionTimeout(30*time.Second),
		kgo.RecordDeliveryTimeout(60*time.Second),
	)
	session, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		return false, err
	}
	defer session.Client().CloseAllowingRebalance()
	for {
		sum := 0
		for _, partitions := range session.Client().CommittedOffsets() {
			for _, at := range partitions {
				sum += int(max(at.Offset, 0))
			}
		}
		if sum >= count {
			return true, nil
		}
		polling, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := session.PollRecords(polling, 100)
		cancel()
		for _, failure := range fetches.Errors() {
			if !errors.Is(failure.Err, context.DeadlineExceeded) {
				return false, failure.Err
			}
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		*round++
		drop := *round%drops == 0
		if err := session.Begin(); err != nil {
			return false, err
		}
		failed := kgo.AbortingFirstErrPromise(session.Client())
		fetches.EachRecord(func(one *kgo.Record) {
			value := one.Value
			if drop {
				value = []byte("dropped")
			}
			session.Produce(ctx, &kgo.Record{Topic: job["to"], Partition: one.Partition, Key: one.Key, Value: value}, failed.Promise())
		})
		try := kgo.TransactionEndTry(failed.Err() == nil && !drop)
		if _, err := session.End(ctx, try); err != nil {
			return false, err
		}
	}
}
