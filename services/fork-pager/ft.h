#ifndef FT_H
#define FT_H
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <stdint.h>
struct ft { const char *n; uint64_t t; };
extern struct ft ft_a[512]; extern unsigned ft_n;
static inline uint64_t ft_now(void){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return (uint64_t)t.tv_sec*1000000000ull+(uint64_t)t.tv_nsec;}
#define FT(x) do{ if(ft_n<512){ft_a[ft_n].n=(x);ft_a[ft_n++].t=ft_now();} }while(0)
static inline void ft_print(void){ if(!getenv("FT")) return; uint64_t s=strtoull(getenv("FT"),NULL,10),l=s; for(unsigned i=0;i<ft_n;i++){fprintf(stderr,"  %8.3f +%.3f %s\n",(double)(ft_a[i].t-s)/1e6,(double)(ft_a[i].t-l)/1e6,ft_a[i].n);l=ft_a[i].t;}}
#endif
