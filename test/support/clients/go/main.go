// Runs jobs with franz-go: franz BOOTSTRAP JOBS. Forms of jobs, records and answers: ../jobs.ts.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var bootstrap string

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func decode(text string) []byte {
	if text == "-" {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	if data == nil {
		data = []byte{}
	}
	return data
}

func encode(data []byte) string {
	if data == nil {
		return "-"
	}
	return base64.StdEncoding.EncodeToString(data)
}

func readLines(path string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func headers(named string) []kgo.RecordHeader {
	var list []kgo.RecordHeader
	for _, pair := range strings.Split(named, ",") {
		if pair == "" {
			continue
		}
		end := 4
		for pair[end] != '=' {
			end += 4
		}
		list = append(list, kgo.RecordHeader{Key: string(decode(pair[:end])), Value: decode(pair[end+1:])})
	}
	return list
}

func writeRecords(path string, records []*kgo.Record) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	for _, record := range records {
		var named []string
		for _, header := range record.Headers {
			named = append(named, encode([]byte(header.Key))+"="+encode(header.Value))
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%d\t%d\n", encode(record.Key), encode(record.Value), strings.Join(named, ","), record.Partition, record.Offset)
	}
	return out.Flush()
}

// MILLRACE_CLIENT_TLS names a directory of ca.pem, client.pem and client.key: connections are of TLS then.
func secured() kgo.Opt {
	directory := os.Getenv("MILLRACE_CLIENT_TLS")
	if directory == "" {
		return kgo.ClientID("kgo")
	}
	authority, err := os.ReadFile(filepath.Join(directory, "ca.pem"))
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	own, err := tls.LoadX509KeyPair(filepath.Join(directory, "client.pem"), filepath.Join(directory, "client.key"))
	if err != nil {
		panic(err)
	}
	return kgo.DialTLSConfig(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own}, ClientSessionCache: sessions})
}

// Shared by all connections, which resume each other's sessions.
var sessions = tls.NewLRUClientSessionCache(64)

func produce(job map[string]string) (string, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		secured(),
		kgo.DefaultProduceTopic(job["topic"]),
		kgo.ProducerBatchCompression(codecs[job["codec"]]),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordDeliveryTimeout(120*time.Second),
	)
	if err != nil {
		return "", err
	}
	defer client.Close()
	var records []*kgo.Record
	for _, line := range readLines(job["input"]) {
		fields := strings.Split(line, "\t")
		records = append(records, &kgo.Record{Key: decode(fields[0]), Value: decode(fields[1]), Headers: headers(fields[2])})
	}
	if err := client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		return "", err
	}
	return fmt.Sprintf("records=%d", len(records)), nil
}

func consumerOptions(job map[string]string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		secured(),
		kgo.ConsumerGroup(job["group"]),
		kgo.ConsumeTopics(job["topic"]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(10 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond),
	}
}

func consume(job map[string]string) (string, error) {
	count, _ := strconv.Atoi(job["count"])
	options := consumerOptions(job)
	if job["isolation"] == "committed" {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Second)
	defer cancel()
	var records []*kgo.Record
	for len(records) < count && ctx.Err() == nil {
		fetches := client.PollRecords(ctx, count-len(records))
		if err := fetches.Err0(); err != nil && ctx.Err() == nil {
			return "", err
		}
		for _, failure := range fetches.Errors() {
			if ctx.Err() == nil {
				return "", fmt.Errorf("partition %d: %w", failure.Partition, failure.Err)
			}
		}
		records = append(records, fetches.Records()...)
	}
	if len(records) > 0 {
		if err := client.CommitRecords(context.Background(), records...); err != nil {
			return "", err
		}
	}
	if err := writeRecords(job["output"], records); err != nil {
		return "", err
	}
	if len(records) != count {
		return "", fmt.Errorf("%d records instead of %d", len(records), count)
	}
	return fmt.Sprintf("records=%d", len(records)), nil
}

type place struct {
	partition int32
	offset    int64
}

// group is what both members of a rebalance share.
type group struct {
	lock  sync.Mutex
	found map[place]*kgo.Record
	err   error
}

// member reads in its own goroutine until it is closed, and commits before it gives partitions up.
type member struct {
	client *kgo.Client
	group  *group
	held   map[int32]bool
	done   chan struct{}
	cancel context.CancelFunc
}

func join(job map[string]string, shared *group) (*member, error) {
	self := &member{group: shared, held: map[int32]bool{}, done: make(chan struct{})}
	lose := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
		shared.lock.Lock()
		defer shared.lock.Unlock()
		for _, partition := range lost[job["topic"]] {
			delete(self.held, partition)
		}
	}
	options := append(consumerOptions(job),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, taken map[string][]int32) {
			shared.lock.Lock()
			defer shared.lock.Unlock()
			for _, partition := range taken[job["topic"]] {
				self.held[partition] = true
			}
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, client *kgo.Client, given map[string][]int32) {
			if err := client.CommitUncommittedOffsets(ctx); err != nil {
				shared.lock.Lock()
				shared.err = err
				shared.lock.Unlock()
			}
			lose(ctx, client, given)
		}),
		kgo.OnPartitionsLost(lose),
	)
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	self.client = client
	ctx, cancel := context.WithCancel(context.Background())
	self.cancel = cancel
	go func() {
		defer close(self.done)
		for ctx.Err() == nil {
			fetches := client.PollRecords(ctx, 200)
			shared.lock.Lock()
			for _, record := range fetches.Records() {
				at := place{record.Partition, record.Offset}
				if shared.found[at] == nil {
					shared.found[at] = record
				}
			}
			shared.lock.Unlock()
			client.AllowRebalance()
		}
	}()
	return self, nil
}

func (self *member) leave() error {
	self.cancel()
	<-self.done
	err := self.client.CommitUncommittedOffsets(context.Background())
	self.client.CloseAllowingRebalance()
	return err
}

func (shared *group) until(what string, condition func() bool) error {
	deadline := time.Now().Add(200 * time.Second)
	for {
		shared.lock.Lock()
		met, err := condition(), shared.err
		shared.lock.Unlock()
		if err != nil || met {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("never happened: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func rebalance(job map[string]string) (string, error) {
	count, _ := strconv.Atoi(job["count"])
	partitions, _ := strconv.Atoi(job["partitions"])
	shared := &group{found: map[place]*kgo.Record{}}
	first, err := join(job, shared)
	if err != nil {
		return "", err
	}
	if err := shared.until("the first member has all", func() bool { return len(first.held) == partitions }); err != nil {
		return "", err
	}
	second, err := join(job, shared)
	if err != nil {
		return "", err
	}
	var answer string
	err = shared.until("the members share", func() bool {
		for partition := range first.held {
			if second.held[partition] {
				return false
			}
		}
		answer = fmt.Sprintf("first=%d\tsecond=%d", len(first.held), len(second.held))
		return len(first.held) > 0 && len(second.held) > 0 && len(first.held)+len(second.held) == partitions
	})
	if err != nil {
		return "", err
	}
	if err := shared.until("half is read", func() bool { return len(shared.found) >= count/2 }); err != nil {
		return "", err
	}
	if err := second.leave(); err != nil {
		return "", err
	}
	if err := shared.until("the first member has all again", func() bool { return len(first.held) == partitions }); err != nil {
		return "", err
	}
	if err := shared.until("all is read", func() bool { return len(shared.found) >= count }); err != nil {
		return "", err
	}
	if err := first.leave(); err != nil {
		return "", err
	}
	var records []*kgo.Record
	for _, record := range shared.found {
		records = append(records, record)
	}
	sort.Slice(records, func(a, b int) bool {
		if records[a].Partition != records[b].Partition {
			return records[a].Partition < records[b].Partition
		}
		return records[a].Offset < records[b].Offset
	})
	return answer, writeRecords(job["output"], records)
}

func main() {
	bootstrap = os.Args[1]
	operations := map[string]func(map[string]string) (string, error){"produce": produce, "consume": consume, "rebalance": rebalance, "transact": transact, "copy": copyAll}
	for _, line := range readLines(os.Args[2]) {
		job := map[string]string{}
		for _, part := range strings.Split(line, "\t") {
			name, value, _ := strings.Cut(part, "=")
			job[name] = value
		}
		answer, err := "", fmt.Errorf("no such job: %s", job["op"])
		if run := operations[job["op"]]; run != nil {
			answer, err = run(job)
		}
		if err != nil {
			fmt.Printf("error\t%s\n", strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Printf("ok\t%s\n", answer)
		}
	}
}
