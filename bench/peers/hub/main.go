// The Mercure hub as it is, in the smallest server that runs it: no access log, no
// log of updates, HTTP/1.1 only. HUB_ADDRESS is where it listens, HUB_KEY is the HS256
// key of subscribers and publishers, HUB_HISTORY the file of its history, which is kept
// to 1,000 updates. Everything else is the hub's default.
package main

import (
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/dunglas/mercure"
	"go.uber.org/zap"
)

const historySize = 1000

func run() error {
	logger, key := zap.NewNop(), []byte(os.Getenv("HUB_KEY"))
	if len(key) == 0 {
		return errors.New("HUB_KEY is not set")
	}
	transport, err := mercure.NewBoltTransport(
		logger, os.Getenv("HUB_HISTORY"), "", historySize, mercure.BoltDefaultCleanupFrequency)
	if err != nil {
		return err
	}
	hub, err := mercure.NewHub(
		mercure.WithLogger(logger),
		mercure.WithTransport(transport),
		mercure.WithPublisherJWT(key, "HS256"),
		mercure.WithSubscriberJWT(key, "HS256"),
	)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: os.Getenv("HUB_ADDRESS"), Handler: hub}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
